"""One step of the decoder, forward and backward, as a list of stages: what each computes, and why."""

from __future__ import annotations

from typing import NamedTuple

from ..model.seq2seq import Seq2Seq


class Stage(NamedTuple):
    """A stage of the walk."""

    key: str
    title: str
    equation: str  # plain text, in the letters of the model: x_{u,t} for an index, x^T for a transposed matrix
    about: str
    backward: bool = False


SCORES = {
    "additive": "e_{u,t} = v . tanh(query_u + key_t)",
    "location": "e_{u,t} = v . tanh(query_u + key_t + w_{u,t} F)",
    "stacked": "e_{u,t} = v . [tanh(query_u) ; key_t]",
    "general": "e_{u,t} = query_u . h_t",
    "dot": "e_{u,t} = s_{u-1} . h_t",
}
QUERIES = {
    "additive": "query_u = s_{u-1} W",
    "location": "query_u = s_{u-1} W",
    "stacked": "query_u = s_{u-1} W",
    "general": "query_u = s_{u-1} W",
    "dot": "query_u = s_{u-1}",
}
KEYS = {
    "additive": "key_t = h_t U",
    "location": "key_t = h_t U",
    "stacked": "key_t = tanh(h_t U)",
    "general": "key_t = h_t",
    "dot": "key_t = h_t",
}
V = {
    "additive": "v weighs the entries of the tanh and adds them up: it turns A numbers into one score.",
    "location": "w_{u,t} = (alpha_{u-1,t-1}, alpha_{u-1,t}, alpha_{u-1,t+1}) says where the step before looked, and F "
    "where to go from there. Before the first step it is zero.",
    "stacked": "v weighs both halves and adds them up. The query's half is the same for every t, and softmax ignores a "
    "constant: these weights cannot depend on the decoder.",
    "general": "W lets a decoder state and an encoder state be compared.",
    "dot": "There is no parameter: states that point the same way score high.",
}
CELLS = {
    "tanh": "{new} = tanh({input} + {old} U)",
    "gru": "{new} = (1 - z) n + z {old},  with r, z = sigmoid({input} + {old} U),  n = tanh({input} + r ({old} U))",
    "lstm": "{new} = o tanh(c'),  c' = f c + i g,  with i, f, o, g from {input} + {old} U",
}
CELL = "{new} = cell({input}, {old})"  # of one's own


def stages(model: Seq2Seq) -> list[Stage]:
    """The stages of one step of ``model``, forward and then backward.

    Examples
    --------
    >>> for stage in stages(Seq2Seq(8, 8, alignment="none")):
    ...     print(stage.key, "  ", stage.equation)
    h    h_t = tanh(x_t W + b + h_{t-1} U)
    s_0    s_0 = tanh(h_T W + b)
    s    s_u = tanh(y_{u-1} W + b + s_{u-1} U)
    logits    logits_u = s_u W + b
    loss    loss = mean of -log softmax(logits_u)[y_u]
    dlogits    dL/dlogits_u = (softmax(logits_u) - onehot(y_u)) / number of tokens
    ds    dL/ds_u = dL/dlogits_u W^T + what comes back from step u + 1
    ds_before    dL/ds_{u-1}, from step u = dL/d(sum) U^T
    dh    dL/dh_t = bridge + recurrent
    """
    attends = model.alignment != "none"
    return [
        *_encoder(model, attends),
        *(_attention(model.alignment) if attends else []),
        *_decoder(model, attends),
        *_readout_backward(),
        *(_attention_backward(model.alignment) if attends else []),
        *_states_backward(model, attends),
    ]


def _encoder(model: Seq2Seq, attends: bool) -> list[Stage]:
    cell = CELLS.get(model.cell, CELL)
    return [
        Stage(
            "h",
            "Encoder states",
            cell.format(new="h_t", old="h_{t-1}", input="x_t W + b"),
            "The encoder reads the source word by word. h_t is what it knows after word t"
            + (", from both sides: one half reads forward, the other backward." if model.bidirectional else "."),
        ),
        Stage(
            "s_0",
            "Bridge",
            "s_0 = tanh([forward h_T ; backward h_1] W + b)" if model.bidirectional else "s_0 = tanh(h_T W + b)",
            f"The first decoder state is made from the last encoder state{' of each half' * model.bidirectional}. "
            + (
                ""
                if attends
                else "Without attention all that the decoder knows of the source passes here: the bottleneck."
            ),
        ),
    ]


def _attention(look: str) -> list[Stage]:
    return [
        Stage(
            "keys",
            "Keys",
            KEYS.get(look, "key_t is made from h_t"),
            "Each encoder state is given a key. It does not depend on the decoder's step, so keys are made once.",
        ),
        Stage(
            "query",
            "Query",
            QUERIES.get(look, "query_u = s_{u-1}"),
            "The query asks where to look now. It comes from the state before the step, s_{u-1}: the state s_u is "
            "what attention helps to make.",
        ),
        Stage(
            "e",
            "Alignment scores",
            SCORES.get(look, "e_{u,t} = score of s_{u-1} against h_t"),
            f"One number for each source position: how well its key fits the query. {V.get(look, '')}",
        ),
        Stage(
            "alpha",
            "Attention weights",
            "alpha_{u,t} = exp(e_{u,t}) / sum_k exp(e_{u,k})",
            "Softmax over the source positions t, for this one step u: the weights of a step add up to 1. A padded "
            "position is left out before the softmax, so its weight is exactly 0, whatever its score.",
        ),
        Stage(
            "c",
            "Context",
            "c_u = sum_t alpha_{u,t} h_t",
            "The encoder states, each counted by its weight, add up to one vector.",
        ),
    ]


def _decoder(model: Seq2Seq, attends: bool) -> list[Stage]:
    cell, inputs = CELLS.get(model.cell, CELL), "y_{u-1} W + b + c_u C" if attends else "y_{u-1} W + b"
    return [
        Stage(
            "s",
            "Decoder state",
            cell.format(new="s_u", old="s_{u-1}", input=inputs),
            "The decoder reads the word before"
            + (", the context" if attends else "")
            + " and its own last state. In training the word before is the right one (teacher forcing).",
        ),
        Stage(
            "logits",
            "Logits",
            "logits_u = s_u W + c_u C + b" if attends else "logits_u = s_u W + b",
            "A score for every word of the vocabulary.",
        ),
        Stage(
            "loss",
            "Loss",
            "loss = mean of -log softmax(logits_u)[y_u]",
            "How surprised the model is by the right words, in nats, on average.",
        ),
    ]


def _readout_backward() -> list[Stage]:
    return [
        Stage(
            "dlogits",
            "Gradient of the logits",
            "dL/dlogits_u = (softmax(logits_u) - onehot(y_u)) / number of tokens",
            "The way back begins. Each wrong word is pushed down by its probability, the right word is pushed up.",
            True,
        ),
        Stage(
            "ds",
            "Gradient of the decoder state",
            "dL/ds_u = dL/dlogits_u W^T + what comes back from step u + 1",
            "The state was read by the readout and by the next step, so two gradients add up.",
            True,
        ),
    ]


def _attention_backward(look: str) -> list[Stage]:
    found = [
        Stage(
            "dc",
            "Gradient of the context",
            "dL/dc_u = dL/dlogits_u C^T + dL/d(sum) C^T",
            "The context was read by the readout and, in the sum inside of the cell, by the state.",
            True,
        ),
        Stage(
            "dalpha",
            "Gradient of the weights",
            "dL/dalpha_{u,t} = h_t . dL/dc_u" + " + what comes back from step u + 1" * (look == "location"),
            "A weight should grow where the encoder state points against this gradient.",
            True,
        ),
        Stage(
            "de",
            "Gradient of the scores",
            "dL/de_{u,t} = alpha_{u,t} (dL/dalpha_{u,t} - sum_k alpha_{u,k} dL/dalpha_{u,k})",
            "Only differences count: a constant added to all scores changes nothing, so this row adds up to 0. "
            "At a padded position it is exactly 0.",
            True,
        ),
    ]
    return (
        found
        if look == "dot"
        else [
            *found,
            Stage(
                "dquery",
                "Gradient of the query",
                {
                    "additive": "dL/dquery_u = sum_t dL/de_{u,t} v (1 - z_{u,t}^2),  with z the tanh",
                    "location": "dL/dquery_u = sum_t dL/de_{u,t} v (1 - z_{u,t}^2),  with z the tanh",
                    "stacked": "dL/dquery_u = (sum_t dL/de_{u,t}) v_1 (1 - z^2),  which is 0",
                    "general": "dL/dquery_u = sum_t dL/de_{u,t} h_t",
                }.get(look, "dL/dquery_u, from the scores"),
                "Every score read the query, so its gradient is a sum over the source positions.",
                True,
            ),
        ]
    )


def _states_backward(model: Seq2Seq, attends: bool) -> list[Stage]:
    look = model.alignment
    return [
        Stage(
            "ds_before",
            "Gradient of the state before",
            "dL/ds_{u-1}, from step u = "
            + ("z dL/ds_u + dL/d(s_{u-1} U) U^T" if model.cell == "gru" else "dL/d(sum) U^T")
            + (" + dL/dquery_u W^T" * (look != "dot" and attends)),
            "Back through the cell" + (", and through the query" if attends else "") + ", to the step before.",
            True,
        ),
        Stage(
            "dh",
            "Gradients that arrive at the encoder states",
            "dL/dh_t = context + key + bridge + recurrent" if attends else "dL/dh_t = bridge + recurrent",
            "Of all steps together. "
            + (
                "Context: c_u = sum_t alpha_{u,t} h_t reads every encoder state, so each receives alpha_{u,t} dL/dc_u. "
                "Key: each score read a key. These two take no step of the encoder: the superhighway. "
                if attends
                else "There is one way only, step by step from the last word back to the first. "
            )
            + "Bridge and recurrent are all that a model without attention has.",
            True,
        ),
    ]
