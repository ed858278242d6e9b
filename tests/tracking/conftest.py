"""A temporary cache for W&B and a server that accepts its uploads.

The server implements the part of W&B's protocol that uploads need, and stores all requests. Tests use it to check which
data are sent and in which order. They do not show that the real server accepts the data.
"""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from medtune.config.load import load
from medtune.config.schema import Params

API_KEY = "0123456789" * 4


class Server:
    """Server that stores requests and sends canned responses.

    Attributes:
        sent: path and body of each request, in order.
        runs: history lines, summary, config, and input and output artifacts, by run id.
        artifacts: artifacts by name and digest.
        views: specs of saved views.
        refuse: GraphQL operations and paths that get an error response.
        knows_key: whether API keys are accepted.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[tuple[str, str], dict[str, Any]] = {}
        self.views: list[dict[str, Any]] = []
        self.refuse: set[str] = set()
        self.knows_key = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                pass

            def do_PUT(self) -> None:
                outer.sent.append((self.path, self.body()))
                self.reply({})

            def do_POST(self) -> None:
                body = self.body()
                outer.sent.append((self.path, body))
                if not outer.knows_key:
                    self.reply({"errors": [{"message": "user is not logged in"}]}, 401)
                elif self.path == "/graphql":
                    query = json.loads(body)
                    name = query.get("operationName") or query["query"].split()[1].split("(")[0]
                    if name in outer.refuse:
                        self.reply({"data": None, "errors": [{"message": f"{name} is refused"}]})
                    else:
                        self.reply({"data": outer.answer(name, query.get("variables") or {})})
                elif "file_stream" in self.path:
                    is_refused = "file_stream" in outer.refuse
                    if not is_refused:
                        outer.stream(self.path.split("/")[4], json.loads(body))
                    self.reply({}, 404 if is_refused else 200)
                else:
                    self.reply({})

            def body(self) -> bytes:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                return gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

            def reply(self, value: Any, code: int = 200) -> None:
                text = json.dumps(value).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *arguments: None  # type: ignore[method-assign]  # ignores clients that disconnect
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    @property
    def everything(self) -> bytes:
        """All sent content, concatenated."""
        return b"\n".join(path.encode() + b"\n" + body for path, body in self.sent)

    def steps(self, run_id: str) -> list[int]:
        """Return the steps of a run's history, in order."""
        lines = self.runs[run_id]["history"]
        return [json.loads(lines[number])["_step"] for number in sorted(lines)]

    def stream(self, run_id: str, body: dict[str, Any]) -> None:
        run = self.run(run_id)
        files = body.get("files") or {}
        history = files.get("wandb-history.jsonl", {"offset": 0, "content": []})
        run["history"] |= {history["offset"] + n: line for n, line in enumerate(history["content"])}
        if "wandb-summary.json" in files:
            run["summary"] = json.loads(files["wandb-summary.json"]["content"][-1])
        run["done"] = run["done"] or bool(body.get("complete"))

    def run(self, run_id: str) -> dict[str, Any]:
        empty_run = {"history": {}, "summary": {}, "used": [], "made": [], "done": False, "about": {}}
        return self.runs.setdefault(run_id, empty_run)

    def answer(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        project = {"id": "p", "name": variables.get("project"), "entity": {"id": "e", "name": "team"}}
        match name:
            case "Viewer" | "GetDefaultEntity":
                return {"viewer": {"id": "u", "entity": "team", "username": "me", "teams": {"edges": []}}}
            case "RunResumeStatus" if variables["name"] in self.runs:
                run = self.runs[variables["name"]]
                lines = [run["history"][number] for number in sorted(run["history"])]
                counts = {"logLineCount": 0, "historyLineCount": len(lines), "eventsLineCount": 0}
                tails = {"historyTail": json.dumps(lines[-1:]), "eventsTail": "[]"}
                about = {"displayName": "", "config": "{}", "tags": [], "notes": "", "wandbConfig": '{"t": 1}'}
                bucket = {"id": "b", "name": variables["name"], "summaryMetrics": json.dumps(run["summary"]), **counts}
                bucket |= tails | about
                return {"model": {**project, "bucket": bucket}}
            case "RunResumeStatus":
                return {"model": None}
            case "UpsertBucket":
                new = variables["name"] not in self.runs
                self.run(variables["name"])["about"] |= {
                    name: value for name, value in variables.items() if value is not None
                }
                bucket = {"id": "b", "name": variables["name"], "displayName": variables.get("displayName"),
                          "project": project,
                          "historyLineCount": 0}  # fmt: skip
                return {"upsertBucket": {"bucket": bucket, "inserted": new}}
            case "ServerFeaturesQuery":
                return {"serverInfo": {"features": []}}
            case "CreateArtifact":
                data = variables["input"]
                new_artifact = {"id": f"artifact-{len(self.artifacts)}", "state": "PENDING", "input": data}
                artifact = self.artifacts.setdefault((data["artifactCollectionName"], data["digest"]), new_artifact)
                if data["runName"]:
                    self.run(data["runName"])["made"].append(data["artifactCollectionName"])
                state = {"id": artifact["id"], "state": artifact["state"], "artifactSequence": {"latestArtifact": None}}
                return {"createArtifact": {"artifact": state}}
            case "CreateArtifactManifest":
                file = {"id": "f", "uploadUrl": f"{self.url}/store/manifest.json", "uploadHeaders": []}
                return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}
            case "CommitArtifact":
                (artifact,) = (data for data in self.artifacts.values() if data["id"] == variables["artifactID"])
                artifact["state"] = "COMMITTED"
                return {"commitArtifact": {"artifact": {"id": artifact["id"], "digest": ""}}}
            case "UseArtifact":
                data = variables["input"]
                (name,) = (key[0] for key, artifact in self.artifacts.items() if artifact["id"] == data["artifactID"])
                self.run(data["runName"])["used"].append(name)
                return {"useArtifact": {"artifact": {"id": data["artifactID"]}}}
            case "CreateRunFiles":
                files = [{"name": file, "uploadUrl": f"{self.url}/store/{file}"} for file in variables["files"]]
                return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
            case "View":
                views = [view for view in self.views if view["name"] == variables["viewName"]]
                nodes = [{"node": {"id": "v", "displayName": "", "spec": view["spec"]}} for view in views]
                return {"project": {"allViews": {"edges": nodes}}}
            case "UpsertView2":
                self.views.append(variables)
                view = {"id": "v", "name": variables["name"]}
                return {"upsertView": {"view": view, "inserted": True}}
            case _:  # the project is empty
                return {"project": None}


@pytest.fixture
def server() -> Iterator[Server]:
    """Start a server on a free local port, without configuring W&B to use it."""
    fake_server = Server()
    yield fake_server
    fake_server.close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb" / "data"))
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path))
    monkeypatch.setattr("medtune.tracking.run._retry_time", 0.0)
    return tmp_path


@pytest.fixture
def online(cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Configure W&B to use the server, with a key."""
    import wandb

    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    wandb.teardown()  # W&B's process reads the environment only once
    yield server
    wandb.teardown()


@pytest.fixture(scope="session")
def exit_code() -> Callable[..., object]:
    """Return a function that calls a command and returns its exit code."""

    def call(command: Callable[..., None], **options: object) -> object:
        try:
            command(**options)
        except SystemExit as exit_error:
            return exit_error.code
        return 0

    return call


@pytest.fixture(scope="session")
def params() -> Params:
    return load()
