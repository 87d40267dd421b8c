"""Pull images from registries, and find out soon where none answers."""

from __future__ import annotations

import threading

from harness.runtime.docker.build import Tell
from harness.runtime.docker.engine import Engine

ANSWER_TIMEOUT_S = 10.0
"""How long a registry may take to say its first word."""

PULL_TIMEOUT_S = 600.0
"""For an image as a whole."""

_silent: dict[tuple[str, str], str] = {}  # (engine, registry) → what happened when it was tried


def pull(engine: Engine, name: str, tell: Tell) -> str | None:
    """Pull the image `name`. None if it is there now, else why it is not.

    A registry that did not answer is not asked again by this process.
    """
    from docker.auth import resolve_repository_name
    from docker.utils import parse_repository_tag

    repository, tag = parse_repository_tag(name)
    registry = (engine.where, resolve_repository_name(repository)[0])
    if registry in _silent:
        return _silent[registry]
    tell(f"pulling {name} …")
    attempt = _Attempt(engine, repository, tag or "latest")
    attempt.start()
    if not attempt.heard.wait(ANSWER_TIMEOUT_S):
        problem = f"{name}: the registry did not answer within {ANSWER_TIMEOUT_S:g} s."
        return _silent.setdefault(registry, problem)
    if not attempt.ended.wait(PULL_TIMEOUT_S):
        return f"{name} was not pulled within {PULL_TIMEOUT_S:g} s."
    if attempt.problem is None:
        return None
    problem = f"{name} cannot be pulled: {attempt.problem}"
    # One that refuses an image may have others.
    return problem if attempt.refused else _silent.setdefault(registry, problem)


class _Attempt(threading.Thread):
    """The engine gives a registry more time than people have: a thread is left to wait for it."""

    def __init__(self, engine: Engine, repository: str, tag: str) -> None:
        super().__init__(name=f"pull {repository}", daemon=True)
        self.heard = threading.Event()
        self.ended = threading.Event()
        self.problem: str | None = None
        self.refused = False
        self._engine = engine
        self._repository = repository
        self._tag = tag

    def run(self) -> None:
        import requests
        from docker.errors import APIError, DockerException

        try:
            events = self._engine.api.pull(
                self._repository, tag=self._tag, stream=True, decode=True
            )
            for event in events:
                self.heard.set()
                if "error" in event:
                    self.problem, self.refused = str(event["error"]), True
        except (DockerException, requests.RequestException, OSError) as error:
            answer = error.status_code if isinstance(error, APIError) else None
            said = error.explanation if isinstance(error, APIError) else None
            self.problem = str(said or error)
            self.refused = answer is not None and 400 <= answer < 500
        finally:
            self.ended.set()
            self.heard.set()
