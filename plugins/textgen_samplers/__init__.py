"""The bundled samplers and selectors, one a file."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_samplers(register: Register) -> None:
    register("greedy", "textgen_samplers.greedy:Greedy", "Takes the likeliest id.")
    register("multinomial", "textgen_samplers.multinomial:Multinomial", "Draws by probability.")
    register("temperature", "textgen_samplers.temperature:Temperature", "Sharpens (< 1) or flattens (> 1).")
    register("top-k", "textgen_samplers.top_k:TopK", "Keeps the k likeliest ids.")
    register("top-p", "textgen_samplers.top_p:TopP", "Keeps the likeliest ids that make up a share p.")
    register("min-p", "textgen_samplers.min_p:MinP", "Keeps ids at least p times as likely as the likeliest.")
    register(
        "repetition-penalty",
        "textgen_samplers.repetition_penalty:RepetitionPenalty",
        "Makes ids seen before less likely.",
    )
