"""A third party's model on the public base classes: it defines a network and its state, and nothing else."""

import numpy as np
import pytest

from textgen import hookimpl
from textgen.errors import ArtifactError
from textgen.model.state import StateSpec, TensorSpec
from textgen.testing import MemoryRun, registered
from textgen.testing.suites import ModelSuite
from textgen.text.batches import Dataset, Lanes
from textgen.text.encoded import EncodedText
from textgen_keras import KerasModel

pytestmark = pytest.mark.keras


class Pairs(KerasModel):
    """A table of logits for each pair of consecutive ids. Its state is an integer, initially -1 for no id."""

    @property
    def state_spec(self):
        return StateSpec((TensorSpec("before", (), "int32", -1),))

    @property
    def tensor_shapes(self):
        return {"table": (self.vocab_size + 1, self.vocab_size, self.vocab_size)}

    def make_network(self, seed):
        import keras
        import tensorflow as tf

        from textgen_keras import StatefulNetwork

        class Network(StatefulNetwork):
            def __init__(self, vocab_size, state_spec, shape):
                super().__init__(vocab_size, state_spec)
                self.table = self.add_weight(shape=shape, initializer=keras.initializers.RandomNormal(seed=seed))

            def call(self, ids, state, lengths=None, dropout_seed=None):
                read = tf.concat([state[0][:, None], ids], axis=1)
                pairs = tf.stack([read[:, :-1] + 1, read[:, 1:]], axis=2)
                last = tf.fill([tf.shape(ids)[0]], tf.shape(ids)[1]) if lengths is None else lengths
                logits = tf.gather_nd(tf.convert_to_tensor(self.table), pairs)
                return logits, [tf.gather(read, last, axis=1, batch_dims=1)]

            def named_variables(self):
                return {"table": self.table}

        return Network(self.vocab_size, self.state_spec, self.tensor_shapes["table"])


class Plugin:
    @hookimpl
    def textgen_register_models(self, register):
        register("pairs", Pairs, "Pairs of ids.")


@pytest.fixture(scope="module", autouse=True)
def plugin():
    with registered(Plugin(), name="pairs"):
        yield


class TestPairs(ModelSuite):
    name = "pairs"
    training = {"learning_rate": 0.1}


def test_it_learns_the_id_after_a_pair():
    cycle = np.array([0, 0, 1, 0, 2] * 60, np.int32)  # after a 0, the id before it decides
    model = Pairs(Pairs.Options(), vocab_size=3)
    dataset = Dataset(Lanes(EncodedText.join([cycle]), length=20, batch_size=3), carries_state=True)
    model.fit(dataset, MemoryRun(dataset, model.TrainingOptions, epochs=30, learning_rate=0.1))
    logits, state = model.forward(cycle[None, :15], model.state_spec.initial_state(1))
    assert logits[0, 1:].argmax(axis=1).tolist() == cycle[2:16].tolist()
    assert state["before"].tolist() == [cycle[14]]


def test_weights_of_another_shape_are_refused():
    with pytest.raises(ArtifactError, match="tensor table has shape"):
        Pairs(Pairs.Options(), vocab_size=3).load_weights({"table": np.zeros((3, 3, 3), np.float32)})


def test_an_initial_state_first_used_in_a_graph_can_be_used_outside():
    import tensorflow as tf

    network = Pairs(Pairs.Options(), vocab_size=3).make_network(seed=0)
    tf.function(lambda: network.initial_state(3)[0] + 1)()
    np.testing.assert_array_equal(network.initial_state(3)[0].numpy(), [-1, -1, -1])
