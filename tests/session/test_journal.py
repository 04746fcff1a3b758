import contextlib
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.views import View
from napari_segany.session.events import ActionEvent, LayerEvent, ModelEvent, PromptEvent
from napari_segany.session.fingerprint import fingerprint_of
from napari_segany.session.history import Mark, MarksPatch, Patch, Step
from napari_segany.session.journal import Header, Journal, _line, decode, encode, read_journal
from napari_segany.session.recovery import recover

IMAGE = np.zeros((20, 30, 3), np.uint8)
HEADER = Header("0.1.0", ModelEvent("fake", "fake"), fingerprint_of(IMAGE), rgb=True, path="somewhere.png")
CLICK = Mark("point", ((3.25, 4.0),), (("sign", "positive"), ("rank", None)))


def painted(*places: tuple[int, int], label: int = 1) -> Patch:
    after = np.zeros((20, 30), np.int32)
    after[tuple(zip(*places, strict=True))] = label
    return Patch.between(np.zeros_like(after), after)


EVENTS = (
    LayerEvent(1, "points"),
    LayerEvent(2, "shapes", marks=(Mark("rectangle", ((1.0, 1.0), (2.0, 1.0), (2.0, 2.0), (1.0, 2.0))),)),
    Step("prompt", marks=((1, MarksPatch(0, (), (CLICK,))),)),
    PromptEvent(View((0, 1), (0, 0)), Prompt((Point(3.25, 4), Point(0.1, 0.2, positive=False)))),
    ActionEvent("accepted", 1),
    ActionEvent("chosen", 2),
    LayerEvent(3, "labels", (20, 30), "<i4", painted((0, 0), label=9)),
    Step("keep", ((3, painted((3, 4), (3, 5))),), ((1, MarksPatch(0, (CLICK,), ())),), (2, 0), 1, True),
    ModelEvent("vit_b", "sha256:00"),
    ActionEvent("undone"),
)


@pytest.fixture
def path(tmp_path):
    journal = Journal.create(tmp_path / "sessions" / "one.jsonl", HEADER)
    for event in EVENTS:
        journal.write(event)
    journal.close()
    return journal.path


@pytest.mark.parametrize("event", EVENTS)
def test_events_come_back_as_they_were(event):
    again = decode(json.loads(json.dumps(encode(event))))
    if isinstance(event, PromptEvent):
        assert again.plane == event.plane
        assert again.prompt.says_the_same(event.prompt)
    else:
        assert again == event


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_rough_masks_and_logits_come_back_as_they_were(dtype):
    mask = np.random.default_rng(0).random((13, 7)) > 0.5
    said = PromptEvent(View((1, 2), (4, 0, 0)), Prompt(box=Box(0, 1, 5, 6), text="a cell", mask=mask.astype(dtype)))
    again = decode(json.loads(json.dumps(encode(said))))
    assert again.prompt.says_the_same(said.prompt)
    assert again.prompt.mask.dtype == dtype


def test_a_journal_is_read_as_it_was_written(path):
    found = read_journal(path)
    assert found.header == HEADER
    assert found.header.label_shape == (20, 30)
    assert len(found.events) == len(EVENTS)
    assert (found.whole, found.warning) == (path.stat().st_size, "")
    assert all(json.loads(line)["do"] for line in path.read_text().splitlines())


def test_recover_needs_no_model(path):
    found = recover(path)
    assert found.labels.dtype == np.int32
    assert found.labels[0, 0] == 9
    assert found.labels[3, 4] == 0, "it was undone"
    assert found.marks("points") == (CLICK,)
    assert found.state.history.redo_name == "keep"
    assert not found.state.finished
    found.state.take(ActionEvent("redone"))
    assert found.labels[3, 4] == 1
    assert found.marks("points") == ()


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_torn_end_is_cut_off_with_a_word(path, cut):
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    found = read_journal(path)
    assert len(found.events) == len(EVENTS) - 1
    assert "not written to its end" in found.warning
    journal = Journal.reopen(path, found.whole)
    journal.write(EVENTS[-1])
    journal.close()
    assert path.read_bytes() == whole


def test_zeros_behind_the_end_are_a_torn_end(path):
    path.write_bytes(path.read_bytes() + bytes(100))
    assert len(read_journal(path).events) == len(EVENTS)


def test_any_other_damage_names_its_line(path):
    data = path.read_bytes()
    starts = np.cumsum([0, *(len(line) + 1 for line in data.splitlines())])
    for place in np.random.default_rng(0).integers(0, len(data), 200):
        if data[place : place + 1] == b"\n":
            continue
        damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        path.write_bytes(damaged)
        line = int(np.searchsorted(starts, place, side="right"))
        if damaged.count(b"\n") == data.count(b"\n"):
            with pytest.raises(InputError, match=f"line {line} of the session"):
                read_journal(path)


def test_a_line_that_is_missing_is_told(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))
    with pytest.raises(InputError, match=r"line 3 .* does not follow"):
        recover(path)
    path.write_bytes(b"".join(lines[1:]))
    with pytest.raises(InputError, match=r"line 1 .* does not begin"):
        recover(path)


@pytest.mark.parametrize("first", [True, False])
def test_what_a_newer_version_wrote_is_newer_and_not_damaged(path, first):
    lines = path.read_bytes().splitlines(keepends=True)
    header = json.loads(lines[0])
    header.pop("crc")
    lines[0 if first else 2] = _line({**header, "format": 2} if first else {"do": "dreamt"})
    path.write_bytes(b"".join(lines))
    with pytest.raises(InputError, match="newer version of napari-segany") as caught:
        read_journal(path)
    assert "damaged" not in str(caught.value)
    if not first:
        assert len(read_journal(path, partial=True).events) == 1


def _values() -> list[object]:
    return ["8", "", None, -1, 1.5, 2**80, [], [[]], {}, True, "<i4", float("nan")]


@pytest.mark.parametrize("number", range(1, 1 + len(EVENTS)))
def test_wrong_values_in_a_record_raise_nothing_but_input_errors(path, number):
    """Every value of a record with a right checksum, exchanged for others."""
    lines = path.read_bytes().splitlines(keepends=True)
    plain = json.loads(lines[number])
    plain.pop("crc")
    for key in plain:
        for value in _values():
            changed = [*lines[:number], _line({**plain, key: value}), *lines[number + 1 :]]
            path.write_bytes(b"".join(changed))
            with contextlib.suppress(InputError):
                recover(path)
            recover(path, partial=True)


@pytest.mark.parametrize("number", range(len(EVENTS) + 1))
def test_unknown_fields_are_left_out_and_missing_ones_are_damage(path, number):
    lines = path.read_bytes().splitlines(keepends=True)
    plain = json.loads(lines[number])
    plain.pop("crc")
    newer = {**plain, "later": [1, {"a": None}]}
    path.write_bytes(b"".join([*lines[:number], _line(newer), *lines[number + 1 :]]))
    assert read_journal(path).header == HEADER
    assert len(read_journal(path).events) == len(EVENTS)
    for key in set(plain) - {"label_shape"}:
        less = {name: value for name, value in plain.items() if name != key}
        path.write_bytes(b"".join([*lines[:number], _line(less), *lines[number + 1 :]]))
        with pytest.raises(InputError, match=f"line {number + 1} of the session .* is damaged: .*{key}"):
            read_journal(path)


@pytest.mark.parametrize(
    "plain",
    [
        {"do": "described", "label": 1, "name": "", "score": "0.93", "how": "", "flags": "", "confidence": None,
         "pixels": 3, "class_name": ""},
        {"do": "look", "limits": ["0", "3000.5"], "together": None, "channels": [0], "inverted": False},
    ],
)  # fmt: skip
def test_numbers_that_0_1_0_wrote_as_strings_are_numbers(plain):
    found = encode(decode(plain))
    assert found.get("score", 0.93) == 0.93
    assert tuple(found.get("limits", (0, 3000.5))) == (0, 3000.5)


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64("nan"), np.int64(3), np.bool_(True), np.str_("a"), None])
def test_values_of_numpy_in_a_table_come_back_as_python_has_them(value):
    plain = value.item() if isinstance(value, np.generic) else value
    step = Step("prompt", marks=((1, MarksPatch(0, (), (Mark("point", ((0.0, 1.0),), (("rank", value),)),))),))
    (_, stretch), *_ = decode(json.loads(_line(encode(step)))).marks
    np.testing.assert_equal(stretch.after[0].features, (("rank", plain),))


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[1].glob("batch/sessions/*.jsonl")), ids=lambda one: one.stem
)
def test_recorded_sessions_are_written_again_to_the_byte(path):
    found = read_journal(path)
    again = [_line(found.header.to_json()), *(_line(encode(event)) for event in found.events)]
    for old, new in zip(path.read_bytes().splitlines(keepends=True), again, strict=True):
        assert new == old or decode(json.loads(new)) == decode(json.loads(old))


def test_a_patch_never_unpacks_to_more_than_it_says(path):
    bomb = zlib.compress(bytes(2**24), 9)
    patch = Patch((0, 0), (2, 2), "<i4", bomb, bomb)
    with pytest.raises(ValueError, match="16 bytes"):
        patch.apply(np.zeros((4, 4), np.int32))
    with pytest.raises(ValueError, match="beyond"):
        painted((3, 4)).apply(np.zeros((2, 2), np.int32))


def test_what_is_no_journal_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_journal(tmp_path / "none.jsonl")
    (tmp_path / "some.jsonl").write_bytes(b"{}\n")
    with pytest.raises(InputError, match="line 1"):
        read_journal(tmp_path / "some.jsonl")
    (tmp_path / "some.jsonl").write_bytes(b"")
    with pytest.raises(InputError, match="not one whole line"):
        read_journal(tmp_path / "some.jsonl")


def test_two_windows_do_not_write_into_one_file(path):
    first = Journal.reopen(path, read_journal(path).whole)
    with pytest.raises(InputError, match="another window"):
        Journal.reopen(path, 0)
    first.close()
    assert len(read_journal(path).events) == len(EVENTS)
    Journal.reopen(path, read_journal(path).whole).close()


def test_classes_are_undone_and_found_again(tmp_path):
    step = Step("class", classes=((1, "", "cell"), (4, "debris", "cell")))
    assert step
    journal = Journal.create(tmp_path / "one.jsonl", HEADER)
    for event in (ObjectInfo(4, "mine", "debris"), step):
        journal.write(event)
    journal.close()
    found = recover(journal.path).state
    assert {label: about.class_name for label, about in found.described.items()} == {1: "cell", 4: "cell"}
    assert found.described[4].name == "mine"
    assert found.unsaved
    found.take(ActionEvent("undone"))
    assert {label: about.class_name for label, about in found.described.items()} == {1: "", 4: "debris"}
    found.take(ActionEvent("redone"))
    assert found.described[1].class_name == "cell"


@pytest.mark.parametrize("end", [[], ["undone"], ["undone", "redone"]], ids=["given", "undone", "redone"])
def test_names_by_the_model_survive_and_come_back_when_a_class_is_undone(tmp_path, end):
    step = Step("class", classes=((1, "", "mine"),))
    journal = Journal.create(tmp_path / "one.jsonl", HEADER)
    named = ObjectInfo(1, class_name="nucleus", class_probability=0.9)
    for event in (named, ObjectInfo(2, class_name="cell", class_probability=0.7), step, *map(ActionEvent, end)):
        journal.write(event)
    journal.close()
    found = recover(journal.path).state.described
    assert found[2] == ObjectInfo(2, class_name="cell", class_probability=0.7)
    undone = end == ["undone"]
    assert found[1] == (named if undone else ObjectInfo(1, class_name="mine"))


def test_a_name_that_was_dropped_does_not_come_back(tmp_path):
    journal = Journal.create(tmp_path / "one.jsonl", HEADER)
    for event in (
        ObjectInfo(1, class_name="nucleus", class_probability=0.9),
        ObjectInfo(1),
        Step("class", classes=((1, "", "mine"),)),
        ActionEvent("undone"),
    ):
        journal.write(event)
    journal.close()
    assert recover(journal.path).state.described[1].class_name == ""


def test_states_are_undone_and_found_again(tmp_path):
    step = Step("accept", states=((1, "automatic", "accepted"), (4, "uncertain", "accepted")))
    assert step
    journal = Journal.create(tmp_path / "one.jsonl", HEADER)
    for event in (ObjectInfo(1, state="automatic"), ObjectInfo(4, "mine", state="uncertain"), step):
        journal.write(event)
    journal.close()
    found = recover(journal.path).state
    assert {label: about.state for label, about in found.described.items()} == {1: "accepted", 4: "accepted"}
    assert found.described[4].name == "mine"
    assert found.unsaved
    found.take(ActionEvent("undone"))
    assert {label: about.state for label, about in found.described.items()} == {1: "automatic", 4: "uncertain"}
    found.take(ActionEvent("redone"))
    assert found.described[1].state == "accepted"


def test_steps_of_older_versions_have_no_classes_and_states():
    plain = encode(Step("keep", label=3))
    assert not {"classes", "states"} & set(plain)
    assert decode(plain).classes == decode(plain).states == ()


def test_reviews_are_undone_and_found_again(tmp_path):
    ana, ben = ("ana", "2026-01-02T03:04:05+00:00"), ("ben", "2026-01-03T03:04:05+00:00")
    step = Step("reject", states=((1, "uncertain", "rejected"),), reviews=((1, ana, ben),))
    assert decode(encode(step)) == step
    journal = Journal.create(tmp_path / "one.jsonl", HEADER)
    for event in (ObjectInfo(1, state="uncertain", reviewed_by=ana[0], reviewed_at=ana[1]), step):
        journal.write(event)
    journal.close()
    found = recover(journal.path).state
    assert (found.described[1].state, found.described[1].review) == ("rejected", ben)
    found.take(ActionEvent("undone"))
    assert (found.described[1].state, found.described[1].review) == ("uncertain", ana)
    found.take(ActionEvent("redone"))
    assert found.described[1].review == ben


def test_objects_and_steps_of_older_versions_have_no_reviews():
    assert not {"reviewed_by", "reviewed_at"} & set(encode(ObjectInfo(1, state="accepted")))
    plain = encode(Step("accept", states=((1, "automatic", "accepted"),)))
    assert "reviews" not in plain
    assert decode(plain).reviews == ()
