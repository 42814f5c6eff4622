"""The laws of the house, each shown to hold here and to fail on a small tree that breaks it."""

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EVERYWHERE = {"types", "errors", "version"}
"""What every room may import."""
ROOMS = {  # every room, and the rooms that it may import: down the list of a flow, no way back
    "types": set(),
    "errors": set(),
    "version": set(),
    "files": set(),
    "network": set(),
    "architectures": {"network"},
    "diffusion": {"files"},
    "codecs": {"files"},
    "encoders": {"files"},
    "puppets": {"files"},
    "data": {"files", "codecs", "encoders", "diffusion", "puppets"},
    "recipes": {"architectures", "network", "codecs", "encoders", "diffusion", "data"},
    "checkpoints": {"files", "network", "codecs", "encoders", "recipes"},
    "generation": {"files", "codecs", "encoders", "diffusion", "recipes", "checkpoints"},
    "train": {
        *("files", "network", "codecs", "encoders", "diffusion", "puppets", "data", "recipes", "checkpoints"),
        "generation",  # the clips that a training makes on its way
    },
    "evaluate": {
        *("files", "network", "codecs", "encoders", "puppets", "recipes", "checkpoints", "generation", "train"),
    },
    "compare": {
        *("files", "architectures", "network", "codecs", "diffusion", "data", "recipes", "checkpoints", "generation"),
        *("train", "evaluate"),
    },
    "cli": {
        *("files", "codecs", "encoders", "puppets", "data", "recipes", "checkpoints", "generation", "train"),
        *("evaluate", "compare"),
    },
    "": set(),  # __init__: imports when asked
    "__main__": {"cli"},
}
NO_PUPPETS = ("generation", "codecs", "encoders", "architectures", "network", "diffusion", "checkpoints")
FLOOR = {"__init__.py", "__main__.py", "errors.py", "py.typed", "types.py", "version.py"}
"""Files of the top floor; everything else has a room."""
ACROSS = ("examples_test.py", "laws_test.py", "release_test.py", "sync_test.py")
"""Tests of more than one room."""
FORBIDDEN_WORDS = re.compile(r"(Manager|Helper|Utils?|Base|Impl)(?=[A-Z]|$)|(^|_)(utils?|helpers?)(_|$)")


@dataclass(frozen=True)
class Tree:
    """A checkout: src/phonofilm, tests, docs."""

    root: Path

    def modules(self):
        """Dotted names inside the package ("codecs.video") with their files."""
        return modules_of(self.root / "src" / "phonofilm")

    def architectures(self):
        return sorted(name.split(".")[1] for name, _ in self.modules() if name.startswith("architectures."))


@cache  # several laws walk the whole tree, and one from many starts
def modules_of(package):
    paths = {path: path.relative_to(package).with_suffix("").parts for path in sorted(package.rglob("*.py"))}
    return [(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path) for path, parts in paths.items()]


@cache
def parse(path):
    return ast.parse(path.read_text(), filename=str(path))


@cache
def imports(path, *, lazy=True):
    """Full dotted names that a file imports; not those for type checkers alone; ``lazy`` counts functions too."""
    todo, found = [parse(path)], set()
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not lazy:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
        todo += ast.iter_child_nodes(node)
    return found


@cache
def inner(tree, path, *, lazy=True):
    """The package's own modules among the imports."""
    known = {name for name, _ in tree.modules() if name}
    names = {n.removeprefix("phonofilm.") for n in imports(path, lazy=lazy) if n.startswith("phonofilm.")}
    return names & known


def rooms(tree):
    """Every module has a room, and a room imports what the table lists and nothing else."""
    for name, path in tree.modules():
        room = name.split(".")[0]
        if room not in ROOMS:
            yield f"{name} stands in no room of the table"
            continue
        for other in sorted(inner(tree, path)):
            if other.split(".")[0] not in ROOMS[room] | EVERYWHERE | {room}:
                yield f"{name} imports {other}; {room} may import {sorted(ROOMS[room]) or 'nothing'}"


def top_floor(tree):
    """At most 22 entries, and no files but those that every room may need."""
    entries = sorted(p for p in (tree.root / "src" / "phonofilm").iterdir() if p.name != "__pycache__")
    yield from (f"{path.name} belongs into a room" for path in entries if path.is_file() and path.name not in FLOOR)
    if len(entries) > 22:
        yield f"the package has {len(entries)} entries; at most 22"


def readme_map(tree):
    """README names every entry of the package and of the checkout."""
    text = (tree.root / "README.md").read_text() if (tree.root / "README.md").is_file() else ""
    package = [p.name for p in (tree.root / "src" / "phonofilm").iterdir() if p.is_dir() and p.name != "__pycache__"]
    beside = [
        p.name for p in tree.root.iterdir() if p.is_dir() and p.name in ("tests", "docs", "benchmarks", "examples")
    ]
    for name in sorted({*package, *beside}):
        if f"`{name}/`" not in text:
            yield f"README.md does not say what {name}/ is for"


def no_cycle(tree):
    graph = {name: inner(tree, path) - {name} for name, path in tree.modules()}
    done = set()

    def visit(name, trail):
        if name in trail:
            yield f"a cycle: {' -> '.join([*trail[trail.index(name) :], name])}"
        elif name not in done:
            for other in sorted(graph.get(name, ())):
                yield from visit(other, [*trail, name])
            done.add(name)

    for name in sorted(graph):
        yield from visit(name, [])


def architectures_stay_apart(tree):
    for name, path in tree.modules():
        if name.startswith(("recipes.", "compare.studies.")):
            continue
        for other in sorted(inner(tree, path)):
            if other.startswith("architectures.") and other != name:
                yield f"{name} imports {other}; only recipes, studies and tests may"


def sizes(tree):
    tests = [(str(path.relative_to(tree.root)), path) for path in sorted((tree.root / "tests").rglob("*.py"))]
    for name, path in [*tree.modules(), *tests]:
        limit = 300 if name.startswith("architectures.") else 400
        lines = len(path.read_text().splitlines())
        if lines >= limit:
            yield f"{name} has {lines} lines; under {limit}"


def functions(tree):
    for name, path in tree.modules():
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}.{node.name}", node


def function_shapes(tree):
    for name, node in functions(tree):
        length = node.end_lineno - node.lineno + 1
        if length > 60:
            yield f"{name} has {length} lines; at most 60"
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        count = sum(a.arg not in ("self", "cls") for a in arguments)
        if count > 6:
            yield f"{name} takes {count} arguments; at most 6"
        if node.args.kwarg:
            yield f"{name} takes **{node.args.kwarg.arg}"
        if any(isinstance(part, ast.Global) for part in ast.walk(node)):
            yield f"{name} changes global state"


def listed(path):
    """The names in a recipe module's RECIPES."""
    for node in parse(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "RECIPES":
            return set(ast.literal_eval(node.value))
    return set()


def companions(tree):
    """Every architecture has a recipe, a page, and a study recipe, which is what the conformance tests run."""
    recipes = [(inner(tree, p), listed(p)) for n, p in tree.modules() if n.split(".")[0] == "recipes"]
    conformance = tree.root / "tests" / "architectures" / "conformance_test.py"
    runs = conformance.is_file() and "phonofilm.recipes.lookup.recipe_names" in imports(conformance)
    for name in tree.architectures():
        names = {recipe for found, some in recipes if f"architectures.{name}" in found for recipe in some}
        if not names:
            yield f"{name} has no recipe"
        if not (tree.root / "docs" / "systems" / f"{name}.md").is_file():
            yield f"{name} has no page docs/systems/{name}.md"
        if not (runs and f"{name}_study" in names):
            yield f"{name} has no recipe {name}_study for tests/architectures/conformance_test.py to run"


def speaks_for_itself(node):
    """A member of one statement, or one that its class's own sentence describes."""
    return node.name in ("forward", "run", "__call__") or len(node.body) == 1


def docstrings(tree):
    """Whatever is public says in a sentence what it is, members that speak for themselves excepted."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef

    def visit(node, name, *, member):
        text = ast.get_docstring(node)
        if not text and not (member and isinstance(node, functions) and speaks_for_itself(node)):
            yield f"{name} has no docstring"
        if text and isinstance(node, functions) and len(text.split()) <= 3:
            yield f"{name}: {text!r} says nothing; write a sentence, or nothing where the name says it"
        public = [n for n in node.body if isinstance(n, functions | ast.ClassDef) and not n.name.startswith("_")]
        for child in public if isinstance(node, ast.Module | ast.ClassDef) else []:
            yield from visit(child, f"{name}.{child.name}", member=isinstance(node, ast.ClassDef))

    for name, path in tree.modules():
        if path.read_text().strip():
            yield from visit(parse(path), name or "phonofilm", member=False)


def words(tree):
    for name, path in tree.modules():
        bad = [n.name for n in ast.walk(parse(path)) if isinstance(n, ast.ClassDef) and FORBIDDEN_WORDS.search(n.name)]
        if FORBIDDEN_WORDS.search(name.split(".")[-1]):
            bad.append(name)
        yield from (f"{name}: {word} says nothing; name what it is" for word in bad)


def mirrored_tests(tree):
    """Tests lie in folders named like the rooms, and each has a module that ``pytest -m quick`` runs."""
    tests, rooms = tree.root / "tests", {name.split(".")[0] for name, _ in tree.modules() if "." in name}
    for room in sorted(rooms):
        if not any("pytest.mark.quick" in path.read_text() for path in (tests / room).rglob("*_test.py")):
            yield f"tests/{room} has no module marked quick; a fast one wants pytestmark = pytest.mark.quick"
    for folder in sorted({path.parent.relative_to(tests).parts[0] for path in tests.glob("*/**/*_test.py")} - rooms):
        yield f"tests/{folder} is no room of src/phonofilm"
    for path in sorted(set(tests.glob("*_test.py")) - {tests / name for name in ACROSS}):
        yield f"tests/{path.name} belongs into the folder of a room"


def no_puppets(tree):
    """Nothing that generates reaches the puppets or espeak, directly or through others."""
    paths = dict(tree.modules())
    for start in [n for n in paths if n.split(".")[0] in NO_PUPPETS]:
        todo, seen = [start], set()
        while todo:
            name = todo.pop()
            if name.split(".")[0] == "puppets" or any("espeak" in n for n in imports(paths[name])):
                yield f"{start} reaches {name}"
            fresh = inner(tree, paths[name]) - seen
            seen |= fresh
            todo += fresh


LAWS = {
    rooms: {
        "src/phonofilm/network/layers.py": "from phonofilm.diffusion import tasks",
        "src/phonofilm/diffusion/tasks.py": "",
        "src/phonofilm/attic/things.py": "",
    },
    top_floor: {"src/phonofilm/layers.py": "", **{f"src/phonofilm/room{i}/__init__.py": "" for i in range(22)}},
    readme_map: {"src/phonofilm/network/layers.py": "", "README.md": "`tests/`"},
    no_cycle: {
        "src/phonofilm/one.py": "import phonofilm.two",
        "src/phonofilm/two.py": "def f():\n    from phonofilm.three import x",
        "src/phonofilm/three.py": "from phonofilm import one",
    },
    architectures_stay_apart: {
        "src/phonofilm/architectures/ovi.py": "",
        "src/phonofilm/generation/pipeline.py": "from phonofilm.architectures.ovi import Ovi",
    },
    sizes: {"src/phonofilm/architectures/ovi.py": "\n" * 300, "tests/ovi_test.py": "x = 1\n" * 399},
    function_shapes: {
        "src/phonofilm/a.py": "def f(a, b, c, d, *, e, g, h): pass",
        "src/phonofilm/b.py": "def f(**k): pass",
        "src/phonofilm/c.py": "def f():\n    global x" + "\n    x = 1" * 58,
        "src/phonofilm/d.py": "def f():" + "\n    x = 1" * 60,
    },
    companions: {"src/phonofilm/architectures/ovi.py": "", "tests/other_test.py": ""},
    docstrings: {
        "src/phonofilm/a.py": '"""A."""\nclass A:\n    """A."""\n    def f(self): 1\n    def g(self): 1; return 2',
        "src/phonofilm/b.py": '"""B."""\ndef f(): pass\ndef g():\n    """Does it."""',
    },
    words: {"src/phonofilm/a.py": "class ModelManager: pass", "src/phonofilm/b_utils.py": ""},
    mirrored_tests: {
        "src/phonofilm/codecs/video.py": "",
        "tests/codecs/video_test.py": "def test_it(): pass",
        "tests/attic/quick_test.py": "pytestmark = pytest.mark.quick",
        "tests/video_test.py": "",
    },
    no_puppets: {
        "src/phonofilm/generation/pipeline.py": "import phonofilm.middle",
        "src/phonofilm/middle.py": "def f():\n    from phonofilm.puppets.voice import speak",
        "src/phonofilm/puppets/voice.py": "",
        "src/phonofilm/codecs/sound.py": "import espeakng_loader",
    },
}
BROKEN = {
    rooms: 2,
    top_floor: 2,
    sizes: 1,
    function_shapes: 4,
    companions: 3,
    docstrings: 3,
    words: 2,
    mirrored_tests: 3,
    no_puppets: 2,
}  # how often; once where not named


def law_id(law):
    return law.__name__


@pytest.mark.quick
@pytest.mark.parametrize("law", LAWS, ids=law_id)
def test_law_holds(law):
    assert list(law(Tree(ROOT))) == []


@pytest.mark.quick
@pytest.mark.parametrize("law", LAWS, ids=law_id)
def test_law_can_fail(law, tmp_path):
    (tmp_path / "tests").mkdir()
    for name, text in LAWS[law].items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert len(list(law(Tree(tmp_path)))) == BROKEN.get(law, 1)


def test_training_needs_neither_av_nor_tyro_nor_librosa():
    names = [name for name, _ in Tree(ROOT).modules() if name.split(".")[0] == "train"]
    modules = ", ".join(f"phonofilm.{name}" for name in names)
    code = (
        "import sys\nsys.modules.update(dict.fromkeys(['av', 'tyro', 'librosa']))\n"
        f"import {modules}\n"
        "try: import phonofilm.files.media\n"
        "except ImportError: print('the block does block')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert (result.stdout, result.returncode) == ("the block does block\n", 0), result.stderr


def test_generating_loads_its_own_system_and_nothing_of_training():
    """What loading a model and making a clip import while they run, which the static laws cannot see."""
    code = (
        "import sys, phonofilm as p\n"
        "p.load('pocket').adjusted(steps=1).generate(p.Request(prompt=p.Prompt(scene='a man')))\n"
        "print(*sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-2000:]
    loaded = {name for name in result.stdout.split() if name.startswith(("phonofilm.", "espeak"))}
    assert {"phonofilm.generation.pipeline", "phonofilm.architectures.jova"} <= loaded
    others = "|".join(name for name in Tree(ROOT).architectures() if name != "jova")
    strange = re.compile(rf"espeak|phonofilm\.(train|puppets|evaluate|compare|cli|architectures\.({others}))\b")
    assert sorted(name for name in loaded if strange.match(name)) == []
