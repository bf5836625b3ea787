import copy
import dataclasses
import hashlib
import json

import pytest

from hal.interface.errors import PlanError
from hal.plan import Plan, RankPlan, codec, digest, dumps, encode, load, loads, save


def test_a_plan_survives_the_round_trip(everything, all_gather):
    for plan in (everything, all_gather):
        again = loads(dumps(plan))
        assert again == plan
        assert again.description == plan.description
        assert loads(dumps(plan).encode()) == plan
        assert json.loads(dumps(plan)) == encode(plan)


def test_defaults_are_left_out(all_gather):
    first, *_ = encode(all_gather)["ranks"][0]["blocks"][0]
    assert first == {
        "do": "move",
        "dst": [{"buffer": "output", "index": 0}],
        "src": [{"buffer": "input", "index": 0}],
    }


def test_every_instruction_has_a_line_of_its_own(all_gather):
    assert sum('{"do": ' in line for line in dumps(all_gather).splitlines()) == 12


def test_files(tmp_path, everything):
    file = tmp_path / "plan.json"
    save(everything, file)
    assert load(file) == everything
    file.write_text("{}")
    with pytest.raises(PlanError, match=r"plan\.json: schema"):
        load(file)
    with pytest.raises(PlanError, match="cannot be read: No such file"):
        load(tmp_path / "missing")
    with pytest.raises(PlanError, match="not a regular file"):
        load(tmp_path)


def test_the_digest_tells_plans_apart_and_ignores_the_description(all_gather):
    same = loads(dumps(all_gather))
    assert digest(same) == digest(all_gather)
    assert digest(dataclasses.replace(all_gather, description="other words")) == digest(all_gather)
    assert digest(dataclasses.replace(all_gather, align=128)) != digest(all_gather)
    assert digest(dataclasses.replace(all_gather, name="other")) != digest(all_gather)


def test_the_digest_is_that_of_the_canonical_document():
    rank = '{"blocks":[],"input_chunks":0,"output_chunks":0,"scratch_chunks":0}'
    schema = '{"name":"hal-plan","version":1}'
    canonical = f'{{"collective":"barrier","name":"empty","ranks":[{rank}],"schema":{schema}}}'
    plan = Plan("empty", "barrier", (RankPlan(0, 0, 0, ()),), description="no part of it")
    assert digest(plan) == hashlib.sha256(canonical.encode()).hexdigest()


def test_a_digest_is_computed_once(all_gather, monkeypatch):
    plan = dataclasses.replace(all_gather)
    made = digest(plan)
    monkeypatch.setattr(codec, "encode", lambda plan: pytest.fail("computed again"))
    assert digest(plan) == made


def at(document, *path):
    for key in path:
        document = document[key]
    return document


MOVE = ("ranks", 1, "blocks", 0, 0)

WRONG = [
    (("name",), 7, "name: expected a text, not 7"),
    (("split",), True, "split: expected a whole number from 0 to 1099511627776, not true"),
    (("split",), 1.0, "split: expected a whole number from 0 to 1099511627776, not 1.0"),
    (("split",), -1, "split: expected a whole number from 0 to 1099511627776, not -1"),
    (("split",), 10**100, "split: expected a whole number .* not a number of more than 64 bits"),
    (("split",), float("nan"), "split: .* not NaN"),
    (("root",), "0", "root: expected a whole number from 0 .*, not '0'"),
    (("in_place",), 1, "in_place: expected true or false, not 1"),
    (("ranks",), {}, "ranks: expected a list, not an object"),
    (("ranks", 1), [], r"ranks\[1\]: expected an object, not a list"),
    ((*MOVE, "dst", 0, "index"), None, r"ranks\[1\]\.blocks\[0\]\[0\]\.dst\[0\]\.index: expected .*, not null"),
    ((*MOVE, "dst", 0, "buffer"), "ouput", r"dst\[0\]\.buffer: unknown buffer 'ouput': .*did you mean 'output'"),
    ((*MOVE, "op"), "summ", r"\[0\]\.op: unknown reduction 'summ': .*did you mean 'sum'"),
    ((*MOVE, "fnial"), True, r"blocks\[0\]\[0\]: unknown key 'fnial': .*did you mean 'final'"),
    ((*MOVE, "do"), "mvoe", r"\[0\]\.do: unknown instruction 'mvoe': allowed are move, .*did you mean 'move'"),
    ((*MOVE, "do"), ["move"], r"\[0\]\.do: expected one of move, .*, not a list"),
    (("ranks", 0, "channels", 0, "kind"), "x" * 10**6, "unknown kind of channel 'xxx"),
    (("x" * 10**6,), 1, "unknown key 'xxx"),
    (("schema", "name"), "other", "schema: no plan of HAL"),
    (("schema", "version"), 2, "schema.version: this reader knows version 1, not 2"),
    (("schema", "version"), True, "schema.version: this reader knows version 1, not true"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_named_with_its_place(all_gather, path, value, message):
    document = copy.deepcopy(encode(all_gather))
    at(document, *path[:-1])[path[-1]] = value
    with pytest.raises(PlanError, match=message) as caught:
        loads(json.dumps(document))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("collective",), "^key 'collective' is missing"),
        ((*MOVE, "src"), r"^ranks\[1\]\.blocks\[0\]\[0\]: key 'src' is missing"),
        ((*MOVE, "do"), r"^ranks\[1\]\.blocks\[0\]\[0\]: key 'do' is missing"),
        (("schema",), "^schema: no plan of HAL"),
    ],
)
def test_what_is_missing_is_named(all_gather, path, message):
    document = copy.deepcopy(encode(all_gather))
    del at(document, *path[:-1])[path[-1]]
    with pytest.raises(PlanError, match=message):
        loads(json.dumps(document))


def test_a_loop_inside_a_loop_is_refused(everything):
    document = encode(everything)
    loop = next(i for i in document["ranks"][0]["blocks"][0] if i["do"] == "loop")
    loop["body"].append(copy.deepcopy(loop))
    with pytest.raises(PlanError, match=r"\.body\[3\]\.do: unknown instruction of a loop 'loop'"):
        loads(json.dumps(document))


def test_a_key_that_appears_twice_is_refused(all_gather):
    text = dumps(all_gather)
    with pytest.raises(PlanError, match=r"^ranks\[0\]\.blocks\[0\]\[0\]\.dst\[0\]: key 'index' appears twice"):
        loads(text.replace('"index": 0', '"index": 0, "index": 0', 1))
    with pytest.raises(PlanError, match=r"^key 'name' appears twice"):
        loads(text.replace('"name": "direct"', '"name": "a", "name": "b"'))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON: line 1, column 1"),
        ("null", "expected an object, not null"),
        ('{"schema": ', "not JSON: line 1"),
        (b"\xff\xfe", "not UTF-8 text: byte 0 is 0xff"),
        ("[" * 10**6, "nested too deeply"),
        ('{"a":' * 10**6, "nested too deeply"),
        ("9" * 10**6, "too many digits"),
        ("[" + "0," * (1 << 23) + "0]", "more than 8388608 values"),
        (" " * ((64 << 20) + 1), "more than 67108864 bytes"),
        (b" " * ((64 << 20) + 1), "more than 67108864 bytes"),
    ],
    ids=range(10),
)
def test_what_is_no_plan_at_all_is_refused(text, message):
    with pytest.raises(PlanError, match=message):
        loads(text)


@pytest.mark.timeout(60)
def test_large_numbers_cost_nothing(all_gather):
    for path, value in [
        (("split",), 10**9),
        (("ranks", 0, "input_chunks"), 10**9),
        (("ranks", 0, "scratch_chunks"), 10**12),
        ((*MOVE, "dst", 0, "size"), 10**9),
        ((*MOVE, "dst", 0, "index"), 10**9),
        ((*MOVE, "dst", 0, "peer"), 10**9),
    ]:
        document = copy.deepcopy(encode(all_gather))
        at(document, *path[:-1])[path[-1]] = value
        with pytest.raises(PlanError):
            loads(json.dumps(document))


@pytest.mark.timeout(60)
def test_many_ranks_are_refused():
    rank = '{"input_chunks": 0, "output_chunks": 0, "scratch_chunks": 0, "blocks": []}'
    ranks = ",".join([rank] * 70000)
    schema = '{"name": "hal-plan", "version": 1}'
    with pytest.raises(PlanError, match="number of ranks is 70000, allowed are 1 to 65536"):
        loads(f'{{"schema": {schema}, "name": "many", "collective": "barrier", "ranks": [{ranks}]}}')
