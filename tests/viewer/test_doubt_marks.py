"""Marks over images of napari's viewer, without a window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from care_live.verdict import Doubt
from care_live.viewer.napari.doubt_marks import COLOURS, DoubtMarks

pytestmark = pytest.mark.filterwarnings("ignore")  # napari's own

UM = (2.0, 0.5, 0.5)
INVENTED, MISSING = Doubt("invented", (4, 6, 9), 12.0), Doubt("missing", (8, 8, 2), 7.0)


@pytest.fixture
def image(viewer: Any) -> Any:
    return viewer.add_image(np.zeros((12, 16, 24), np.uint16), name="raw", scale=UM)


def colour_of(marks: Any, n: int) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in marks.border_color[n][:3])


def test_a_volume_without_a_place_to_mark_makes_no_layer(viewer: Any, image: Any) -> None:
    marks = DoubtMarks(viewer)
    marks.show({image: ()}, UM)
    assert list(viewer.layers) == [image] and marks.n_layers_of_an_image == 1


def test_each_place_is_marked_in_its_plane_and_smaller_in_those_beside(viewer: Any, image: Any) -> None:
    viewer.add_image(np.zeros((12, 16, 24)), name="restored", scale=UM)
    marks = DoubtMarks(viewer)
    marks.show({image: (INVENTED, MISSING)}, UM)
    assert [layer.name for layer in viewer.layers] == ["raw", "marks · raw", "restored"], "right above its image"
    assert marks.n_layers_of_an_image == 2
    drawn = viewer.layers["marks · raw"]
    assert tuple(drawn.scale) == UM and not drawn.editable
    for doubt in (INVENTED, MISSING):
        z, y, x = doubt.place_px
        own = {int(at[0]): n for n, at in enumerate(drawn.data) if tuple(at[1:]) == (y, x)}
        assert sorted(own) == list(range(z - 3, z + 4))
        sizes = [float(drawn.size[own[plane]]) for plane in sorted(own)]
        assert sizes == sizes[::-1] and max(sizes) == sizes[3] == 18 and sizes[0] < sizes[1] < sizes[2] < sizes[3]
        assert colour_of(drawn, own[z]) == COLOURS[doubt.kind]
        assert [drawn.features["kind"][own[plane]] for plane in (z - 1, z)] == ["", doubt.kind]
    assert {str(one) for one in drawn.symbol[:7]} != {str(one) for one in drawn.symbol[7:]}, "of two shapes"


def test_a_kind_of_a_later_daemon_is_marked_in_a_way_of_its_own(viewer: Any, image: Any) -> None:
    DoubtMarks(viewer).show({image: (INVENTED, Doubt("moved", (1, 1, 1), 5.0), MISSING)}, UM)  # type: ignore[arg-type]
    drawn = viewer.layers["marks · raw"]
    assert len({str(one) for one in drawn.symbol}) == 3
    assert colour_of(drawn, 7) not in COLOURS.values()


def test_the_next_volume_moves_the_marks_or_empties_them(viewer: Any, image: Any) -> None:
    marks = DoubtMarks(viewer)
    marks.show({image: (INVENTED,)}, UM)
    drawn = viewer.layers["marks · raw"]
    marks.show({image: ()}, UM)
    assert not len(drawn.data) and list(viewer.layers) == [image, drawn]
    marks.show({image: (MISSING,)}, (1.0, 1.0, 1.0))
    assert tuple(drawn.data[3]) == MISSING.place_px and tuple(drawn.scale) == (1.0, 1.0, 1.0)


def test_marks_are_hidden_by_a_person_and_with_their_image(viewer: Any, image: Any) -> None:
    marks = DoubtMarks(viewer)
    marks.show({image: (INVENTED,)}, UM)
    drawn = viewer.layers["marks · raw"]
    marks.switch(False)
    assert not drawn.visible
    marks.show({image: (MISSING,)}, UM)
    assert not drawn.visible, "the next volume does not bring them back"
    image.visible = False
    marks.switch(True)
    assert not drawn.visible
    image.visible = True
    marks.switch(True)
    assert drawn.visible
    image.visible = False
    marks.show({image: (INVENTED,)}, UM)
    assert not drawn.visible, "a volume that was not restored has no marks"


def test_marks_that_a_person_removed_come_with_the_next_place(viewer: Any, image: Any) -> None:
    marks = DoubtMarks(viewer)
    marks.show({image: (INVENTED,)}, UM)
    viewer.layers.remove("marks · raw")
    marks.show({image: (MISSING,)}, UM)
    assert tuple(viewer.layers["marks · raw"].data[3]) == MISSING.place_px
