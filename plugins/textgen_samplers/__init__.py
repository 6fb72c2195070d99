"""The bundled samplers and selectors, one per file."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_samplers(register: Register) -> None:
    register("greedy", "textgen_samplers.greedy:Greedy", "Takes the most likely id.")
    register("multinomial", "textgen_samplers.multinomial:Multinomial", "Draws an id by its probability.")
    register("temperature", "textgen_samplers.temperature:Temperature", "Sharpens (< 1) or flattens (> 1).")
    register("top-k", "textgen_samplers.top_k:TopK", "Keeps the k most likely ids.")
    register("top-p", "textgen_samplers.top_p:TopP", "Keeps the most likely ids, up to a total probability of p.")
    register("min-p", "textgen_samplers.min_p:MinP", "Keeps ids at least p times as likely as the most likely one.")
    register(
        "repetition-penalty",
        "textgen_samplers.repetition_penalty:RepetitionPenalty",
        "Makes ids that have occurred before less likely.",
    )
