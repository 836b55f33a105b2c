"""Processes that work off tasks and end with the one that started them, whatever ends it."""

from __future__ import annotations

import importlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerDied(RuntimeError):
    """A worker ended without an answer, for example because the system had no memory left."""


class Workers:
    """`count` processes that work off one task after the other.

    They are started at once and import `module`, so that this runs beside what the caller does next. A worker's
    pipe is its only tie: where the caller is killed, the pipe ends, and so does the worker after its task. Ctrl-C
    is the caller's alone. With `count` 0 the tasks are worked off in this process.
    """

    def __init__(self, count: int, *, module: str) -> None:
        self._processes: dict[Connection, BaseProcess] = {}
        context = multiprocessing.get_context("spawn")
        with _interrupts_ignored():  # a process inherits that, and none of it is ever without
            for number in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_work, args=(module, theirs), name=f"essnet-worker-{number}", daemon=True
                )
                process.start()
                theirs.close()
                self._processes[ours] = process

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the workers finish the task they have, and end."""
        for connection in self._processes:
            connection.close()
        for process in self._processes.values():
            process.join()
        self._processes = {}

    def stop(self) -> None:
        """End the workers at once, whatever they are doing."""
        for process in self._processes.values():
            process.terminate()
        self.close()

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Yield a module's function of each task, as they come; each worker has one task at a time.

        Raises
        ------
        WorkerDied
            If a worker ended.
        Exception
            Whatever a worker's function raised.
        """
        if not self._processes:
            yield from map(function, tasks)
            return
        coming = iter(tasks)
        idle = list(self._processes)
        busy: list[Connection] = []
        while True:
            while idle and (task := next(coming, None)) is not None:
                connection = idle.pop()
                self._send(connection, (function, task))
                busy.append(connection)
            if not busy:
                return
            answered = wait(busy)
            for connection in [one for one in busy if one in answered]:
                result: Result = self._receive(connection)
                busy.remove(connection)
                idle.append(connection)
                yield result

    def _send(self, connection: Connection, task: object) -> None:
        try:
            connection.send(task)
        except BrokenPipeError:
            raise self._died(connection) from None

    def _receive(self, connection: Connection) -> Any:
        try:
            result, failure = connection.recv()
        except (EOFError, ConnectionResetError):
            raise self._died(connection) from None
        if failure is not None:
            raise failure
        return result

    def _died(self, connection: Connection) -> WorkerDied:
        process = self._processes[connection]
        process.join()
        code = process.exitcode or 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return WorkerDied(f"a worker process ended ({how}); run the same command again")


def _work(module: str, connection: Connection) -> None:
    importlib.import_module(module)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the caller is gone
        while True:
            function, task = connection.recv()
            try:
                result, failure = function(task), None
            except Exception as error:  # the caller's to judge
                result, failure = None, error
            connection.send((result, failure))


class _interrupts_ignored:
    """Ignore SIGINT while the block runs; signals are the main thread's affair."""

    def __enter__(self) -> None:
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def __exit__(self, *error: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._before)
