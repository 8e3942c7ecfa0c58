"""Small pictures in the layout of the ORL faces."""

from PIL import Image


def write_faces(root, people=40, images=10, size=(5, 6)):
    for person in range(1, people + 1):
        folder = root / "orl_faces" / f"s{person}"
        folder.mkdir(parents=True)
        for i in range(1, images + 1):
            Image.new("L", size, person).save(folder / f"{i}.pgm")
