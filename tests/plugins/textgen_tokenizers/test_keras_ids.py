"""Ids, compared with those of the corresponding layers of Keras."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.keras

# Strings of TensorFlow are UTF-8, without lone surrogates.
texts = st.text(st.characters(codec="utf-8"))


def keras_string_lookup(text):
    import keras

    return keras.layers.StringLookup(vocabulary=sorted(set(text)), mask_token=None)


def keras_tokenizer(documents):
    from keras.src.legacy.preprocessing.text import Tokenizer

    tokenizer = Tokenizer(char_level=True, lower=False)
    tokenizer.fit_on_texts(documents)
    return tokenizer


def assert_same_lookup(make, text, prompt):
    tokenizer, layer = make("string-lookup"), keras_string_lookup(text)
    tokenizer.fit([text])
    assert tokenizer.vocab_size == layer.vocabulary_size()
    assert tokenizer.encode(prompt).tolist() == layer(list(prompt)).numpy().tolist()


def assert_same_frequency_order(make, documents, prompts):
    tokenizer, reference = make("char-eos", order="frequency"), keras_tokenizer(documents)
    tokenizer.fit(documents)
    assert tokenizer.eos_id == len(reference.word_index) + 1
    assert [tokenizer.encode(prompt).tolist() for prompt in prompts] == reference.texts_to_sequences(prompts)


@settings(max_examples=25, deadline=None)
@given(text=texts.filter(bool), rest=texts)
@example(text="a\0b", rest="")
def test_string_lookup_on_any_text(make, text, rest):
    # Keras reserves an id for NUL but never finds it: NumPy strips it from the entry of the vocabulary.
    prompt = f"{text}{rest}?".replace("\0", "")
    assert_same_lookup(make, text, prompt)


def test_string_lookup_on_shakespeare(make, shakespeare):
    assert_same_lookup(make, shakespeare[0], shakespeare[0][:100_000] + "0é🦖")


def test_string_lookup_on_agnews_titles(make, agnews_titles):
    text = "".join(agnews_titles)
    assert_same_lookup(make, text, text[:100_000] + "é🦖")


@settings(deadline=None)
@given(documents=st.lists(texts).filter(any), prompts=st.lists(texts))
def test_frequency_order_on_any_texts(make, documents, prompts):
    assert_same_frequency_order(make, documents, documents + prompts)


# A small alphabet has many ties.
@settings(deadline=None)
@given(documents=st.lists(st.text("abcdAB🦖")).filter(any))
def test_frequency_order_with_ties(make, documents):
    assert_same_frequency_order(make, documents, documents)


def test_frequency_order_on_agnews_titles(make, agnews_titles):
    assert_same_frequency_order(make, agnews_titles, [*agnews_titles, "é🦖"])


def test_frequency_order_on_shakespeare(make, shakespeare):
    assert_same_frequency_order(make, shakespeare, [shakespeare[0], "0é🦖"])
