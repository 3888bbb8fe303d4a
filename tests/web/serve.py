"""Serves the page over an example record, to look at it: python -m tests.web.serve."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

import uvicorn

from tests.support.admin_place import open_place, past_calls
from tests.support.review_scene import fill, open_scene
from web.app import build


async def serve(port: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scene = open_scene(Path(folder))
        await scene.people.add("bob", role="approver")
        link = await scene.people.invite("alice", role="admin", url=f"http://127.0.0.1:{port}")
        place = await open_place(scene, Path(folder))
        past_calls(scene)
        await fill(scene)
        for number in range(3):
            invoices = {"customer": f"cus_{number}", "since": "2026-01-01"}
            scene.held("list_invoices", invoices, reason="Lists for people outside the team")
        print(link, flush=True)
        app = build(scene.services(public_url=f"http://127.0.0.1:{port}", **place.services()))
        config = uvicorn.Config(app, port=port, log_level="warning", timeout_graceful_shutdown=2)
        try:
            await uvicorn.Server(config).serve()
        finally:
            scene.wakeup.close()
            await scene.database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8790)
    asyncio.run(serve(parser.parse_args().port))
