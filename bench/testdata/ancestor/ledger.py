"""Stands in for ledger-once in the tests: the part of its interface that its README tells and that bench uses."""
import hashlib
import json
import os
import sqlite3
import threading

print("to be kept apart from the answers")


class Guard:
    def __init__(self, path):
        self.lock = threading.Lock()
        self.db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("CREATE TABLE IF NOT EXISTS ledger (id TEXT PRIMARY KEY, status TEXT, result TEXT)")

    def __call__(self, fn, key=None, **args):
        what = json.dumps([fn.__name__, key or sorted(args.items()), "default"])
        id = hashlib.sha256(what.encode()).hexdigest()[:32]
        with self.lock:
            if self.db.execute("INSERT OR IGNORE INTO ledger VALUES (?, 'running', NULL)", (id,)).rowcount == 0:
                return None
        result = fn(**args)
        with self.lock:
            self.db.execute("UPDATE ledger SET status = 'success', result = ? WHERE id = ?", (json.dumps(result), id))
        return result


guard = Guard(os.environ["LEDGER_DB"])
