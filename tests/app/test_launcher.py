"""The launcher on a machine that is ready, and what it says on one that is not."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAUNCHER = ROOT / "flowledger"
READY = ROOT / ".venv" / ".flowledger-ready"

pytestmark = pytest.mark.skipif(
    not READY.exists(), reason="the environment was not made by ./flowledger"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A ready project whose program prints where it runs and with what."""
    folder = tmp_path / "project"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("uv.lock", "pyproject.toml"):
        (folder / name).write_text("")
    shutil.copy(LAUNCHER, folder / "flowledger")
    program = folder / ".venv" / "bin" / "flowledger"
    program.write_text('#!/bin/sh\necho "$PWD" "$@"\nexit 7\n')
    program.chmod(0o755)
    (folder / ".venv" / ".flowledger-ready").write_text(f"{folder}\n")
    return folder


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """A PATH on which neither uv nor a package manager is found, and nobody is root."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "env", "readlink", "tail", "rm", "mktemp"):
        (folder / name).symlink_to(str(shutil.which(name)))
    (folder / "id").write_text("#!/bin/sh\necho 1000\n")
    (folder / "id").chmod(0o755)
    return str(folder)


def call(
    program: Path | str, *arguments: str, cwd: Path, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "HOME": "/nonexistent"}
    if path is not None:
        environ["PATH"] = path
    return subprocess.run(
        (str(program), *arguments),
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_hands_over_with_arguments_folder_and_status(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    done = call(project / "flowledger", "a b", "--c", cwd=elsewhere)
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout == f"{elsewhere} a b --c\n"


def test_it_can_be_called_through_a_link_and_by_its_name(project: Path, tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.mkdir()
    (links / "ledger").symlink_to(project / "flowledger")
    assert call(links / "ledger", "x", cwd=tmp_path).stdout == f"{tmp_path} x\n"
    path = f"{links}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ("sh", "-c", "ledger y"),
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == f"{tmp_path} y\n"


@pytest.mark.parametrize("name", ["uv.lock", "pyproject.toml", "flowledger"])
def test_a_changed_declaration_makes_it_get_ready_again(
    project: Path, bare_path: str, name: str
) -> None:
    later = time.time() + 10
    os.utime(project / name, (later, later))
    done = call(project / "flowledger", cwd=project, path=bare_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("flowledger: getting ready")


def test_a_moved_project_gets_ready_again(project: Path, bare_path: str) -> None:
    moved = project.rename(project.with_name("moved"))
    done = call(moved / "flowledger", cwd=moved, path=bare_path)
    assert done.returncode == 1
    assert done.stderr.startswith("flowledger: getting ready")


def test_without_a_compiler_and_rights_it_says_what_to_install(
    project: Path, bare_path: str
) -> None:
    (project / ".venv" / ".flowledger-ready").unlink()
    done = call(project / "flowledger", cwd=project, path=bare_path)
    assert done.stderr.splitlines()[-1] == (
        "flowledger: no C compiler: install gcc, then start again"
    )


def test_without_rights_it_prints_the_exact_packages(project: Path, bare_path: str) -> None:
    (project / ".venv" / ".flowledger-ready").unlink()
    for name, text in (
        ("dpkg-query", '#!/bin/sh\n[ "$4" = gcc ] && echo installed\n'),
        ("sudo", "#!/bin/sh\nexit 1\n"),
    ):
        program = Path(bare_path) / name
        program.write_text(text)
        program.chmod(0o755)
    done = call(project / "flowledger", cwd=project, path=bare_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].rstrip() == (
        "flowledger: system packages are missing; run:  sudo apt-get install libc6-dev librrd-dev"
    )


@pytest.mark.serial
def test_its_own_cost_is_small(project: Path, tmp_path: Path) -> None:
    """Well under a second is asked for; what is needed is a few milliseconds."""
    seconds = []
    for _ in range(5):
        started_ns = time.monotonic_ns()
        call(project / "flowledger", cwd=tmp_path)
        seconds.append((time.monotonic_ns() - started_ns) / 1e9)
    assert min(seconds) < 0.25
