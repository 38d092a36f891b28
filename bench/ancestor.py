"""Carries out calls once with ledger-once, the Python program that this library continues: a worker for the runner beside.

    python3 -c THIS PATH_TO_ledger.py        with LEDGER_DB set

For each line "measure CALLERS DURATION" of its input it answers with a line of JSON.
"""
import importlib.util
import itertools
import json
import os
import re
import sys
import threading
import time

answers = sys.stdout
sys.stdout = sys.stderr  # what the program prints is no answer


def load(path):
    spec = importlib.util.spec_from_file_location("ledger", path)
    if spec is None:
        raise ImportError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules["ledger"] = module  # before it runs, as dataclasses look there
    spec.loader.exec_module(module)
    return module.guard


def seconds(text):
    """Reads a duration as Go prints it, such as 1m0.5s or 700ms."""
    units = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}
    if not re.fullmatch(r"([\d.]+(h|ms|m|s|µs|us|ns))+", text):
        raise ValueError(f"{text!r} is no duration")
    return sum(float(n) * units[u] for n, u in re.findall(r"([\d.]+)(h|ms|m|s|µs|us|ns)", text))


runs = itertools.count()  # next() on it is atomic


def charge_card(id, customer, amount, currency, rate):
    next(runs)
    return {"id": "ch_3MmlLrLkdIwHu7ix0snN0B15", "status": "succeeded"}


def measure(guard, callers, budget):
    took, errors, lock = [], [], threading.Lock()
    before = next(runs)
    cpu, start = time.process_time(), time.monotonic()

    def work():
        mine = []
        try:
            while True:
                began = time.monotonic_ns()
                id = os.urandom(16).hex()
                guard(charge_card, id=id, customer="cus_9s6XKzkNRiz8i3", amount=4200, currency="eur", rate=1.25, key=id)
                mine.append(time.monotonic_ns() - began)
                if time.monotonic() - start >= budget:
                    break
        except BaseException as e:
            errors.append(f"{type(e).__name__}: {e}")
        with lock:
            took.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(callers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    all_took = time.monotonic() - start
    if errors:
        raise RuntimeError(errors[0])
    ran = next(runs) - before - 1
    if ran != len(took):
        raise RuntimeError(f"{len(took)} calls that nobody had made ran the tool {ran} times")
    took.sort()
    return {
        "Calls": len(took), "Took": int(all_took * 1e9), "P50": took[len(took) // 2], "P99": took[len(took) * 99 // 100],
        "CPU": int((time.process_time() - cpu) * 1e9), "Goroutine": callers,
    }


def answer(what):
    answers.write(json.dumps(what) + "\n")
    answers.flush()


def main():
    try:
        guard = load(sys.argv[1])
        answer({})
        for line in sys.stdin:
            verb, callers, amount = line.split()
            if verb != "measure":
                raise ValueError(f"{line!r} is not understood")
            answer(measure(guard, int(callers), seconds(amount)))
    except Exception as e:
        answer({"Error": f"{type(e).__name__}: {e}"})
        sys.exit(1)


main()
