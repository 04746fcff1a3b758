"""What annotation cost, measured in a real window."""

from __future__ import annotations

from tests.widgets.conftest import Opened


def cells(opened: Opened) -> dict[str, str]:
    table = opened.widget.learn_box.effort._table
    return {table.verticalHeaderItem(row).text(): table.item(row, 0).text() for row in range(table.rowCount())}


def test_the_work_of_this_session_is_measured(opened: Opened) -> None:
    opened.hand.click(20, 20)
    opened.wait_for_mask()
    opened.hand.press("k")
    opened.settle()
    box = opened.widget.learn_box.effort
    opened.widget.tabs.show_box(opened.widget.learn_box)
    box._measure.click()
    opened.hand.qtbot.waitUntil(box._measure.isEnabled, timeout=20_000)
    found = cells(opened)
    assert (found["objects"], found["clicks per object"], found["from prompts"]) == ("1", "1.0", "100%")
    assert float(found["seconds per object"]) < 60
    assert "From 1 session" in box._text.text()


def test_without_sessions_it_says_so(opened: Opened) -> None:
    box = opened.widget.learn_box.effort
    box._measure.click()
    opened.hand.qtbot.waitUntil(box._measure.isEnabled, timeout=20_000)
    assert "no session" in box._text.text()
    assert not box._table.isVisibleTo(box)
