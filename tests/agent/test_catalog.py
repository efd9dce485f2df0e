import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from evermap.agent import catalog
from evermap.agent.catalog import APPLICATION_ID, FILE, MIGRATIONS, connect, explained
from evermap.agent.entries import columns, to_json
from evermap.agent.store import KnowledgeStore
from evermap.agent.transaction import TABLES
from evermap.errors import StoreError


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = connect(tmp_path, 1.0, read_only=False)
    yield connection
    connection.close()


def pragma(db: sqlite3.Connection, name: str) -> object:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


def test_the_catalog_is_durable_and_strict(db: sqlite3.Connection) -> None:
    assert pragma(db, "journal_mode") == "wal"
    assert pragma(db, "synchronous") == 2  # FULL
    assert pragma(db, "foreign_keys") == 1
    assert pragma(db, "application_id") == APPLICATION_ID


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.__name__)
def test_every_table_has_the_columns_of_its_dataclass(db: sqlite3.Connection, kind: type) -> None:
    found = {row["name"] for row in db.execute(f"PRAGMA table_info({TABLES[kind]})")}
    assert found == set(columns(kind))


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        connection = connect(tmp_path, 1.0, read_only=False)
        assert connection.execute("SELECT version FROM schema_version").fetchall()[0][0] == len(MIGRATIONS)
        connection.close()


def test_an_older_store_is_migrated_and_keeps_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with KnowledgeStore.open(tmp_path / "store") as store, store.transaction() as t:
        t.set_state("selector", {"n": 3})

    def add_table(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE evictions (entry TEXT)")

    monkeypatch.setattr(catalog, "MIGRATIONS", (*MIGRATIONS, add_table))
    with pytest.raises(StoreError, match=f"has the older schema {len(MIGRATIONS)}; `evermap store gc` brings"):
        KnowledgeStore.open(tmp_path / "store", read_only=True)
    with KnowledgeStore.open(tmp_path / "store") as store:
        assert store.state("selector") == {"n": 3}
        assert store._db.execute("SELECT COUNT(*) FROM evictions").fetchone()[0] == 0


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(tmp_path, 1.0, read_only=False).close()

    def fails(db: sqlite3.Connection) -> None:
        db.execute("DROP TABLE events")
        db.execute("SELECT * FROM missing")

    with monkeypatch.context() as patch:
        patch.setattr(catalog, "MIGRATIONS", (*MIGRATIONS, fails))
        with pytest.raises(StoreError, match="no such table"):
            connect(tmp_path, 1.0, read_only=False)
    connection = connect(tmp_path, 1.0, read_only=False)
    assert connection.execute("SELECT COUNT(*) FROM events").fetchone()[0] == 0
    connection.close()


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    connection = connect(tmp_path, 1.0, read_only=False)
    connection.execute("UPDATE schema_version SET version = 99")
    connection.close()
    with pytest.raises(StoreError, match=r"has schema 99, .* use a newer evermap"):
        connect(tmp_path, 1.0, read_only=False)


def test_the_file_of_another_program_is_refused(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / FILE)
    other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    with pytest.raises(StoreError, match="belongs to another program"):
        connect(tmp_path, 1.0, read_only=False)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a catalog" * 1000)
    with pytest.raises(StoreError, match="is damaged"):
        connect(tmp_path, 1.0, read_only=False)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (sqlite3.OperationalError("database is locked"), "another process has been writing to it for 3 s"),
        (sqlite3.OperationalError("database or disk is full"), "no space is left"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "cannot be written"),
        (sqlite3.DatabaseError("database disk image is malformed"), "is damaged"),
        (sqlite3.IntegrityError("UNIQUE constraint failed: rows.row"), "contradicts what is there"),
        (sqlite3.OperationalError("disk I/O error"), "disk I/O error"),
        (PermissionError(13, "Permission denied", "/somewhere/x.tmp"), r"Permission denied \(x.tmp\)"),
        (OSError("odd"), "odd"),
    ],
)
def test_every_failure_becomes_one_sentence_that_names_the_store(raised: Exception, said: str) -> None:
    with pytest.raises(StoreError, match=said) as caught, explained("here/store", 3):
        raise raised
    assert str(caught.value).startswith("The knowledge store here/store")
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [float("nan"), {"a": [float("inf")]}, {"a": {1, 2}}, object()])
def test_only_plain_json_with_finite_numbers_is_kept(bad: object) -> None:
    with pytest.raises(StoreError, match="The spec is not plain JSON with finite numbers"):
        to_json(bad, "The spec")


def test_the_same_json_is_the_same_text() -> None:
    assert (
        to_json({"b": [1, None], "a": "ü"}, "x") == to_json({"a": "ü", "b": (1, None)}, "x") == '{"a":"ü","b":[1,null]}'
    )
