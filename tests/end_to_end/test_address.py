"""Commands of the same folder know where its gateway is, whatever port it was started with."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.live_gateway import Site, eventually, free_port
from tests.support.page_key import PageKey, sign_in
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.xdist_group("address")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Its settings name another port than the one that it is started with."""
    site = Site(tmp_path, environ={"SIGNOFF_PORT": str(free_port())})
    site.policy()
    site.servers()
    site.reviewer()
    yield site
    if site.process is not None and site.process.poll() is None:
        site.stop()


def link(site: Site) -> str:
    return site.run("reviewer", "link", "alice").stdout.partition("/signin#")[0]


def configured(site: Site) -> str:
    return f"http://signoff.localhost:{site.environ['SIGNOFF_PORT']}"


def test_links_and_programs_get_the_port_of_the_running_gateway(site: Site) -> None:
    assert link(site) == configured(site)
    site.start()
    assert link(site) == site.page
    assert f"{site.url}/mcp" in site.run("connect", "cursor").stdout
    told = site.data / "gateway.url"
    assert (told.read_text(encoding="ascii"), told.stat().st_mode & 0o777) == (site.url, 0o600)
    assert f"127.0.0.1:{site.port}" in site.run("doctor", check=False).stdout


def test_people_are_told_both_spellings_of_the_page_each_with_its_own_sign_in(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    site.policy()
    site.servers()
    site.start()
    try:
        eventually(lambda: any(line.startswith("Connect") for line in site.said))
        said = "".join(site.said)
        told = re.findall(r"http://\S+/signin#lnk_\S+", said)
        assert [one.partition("/signin#")[0] for one in told] == [site.page, site.url]
        assert len(set(told)) == len({one.partition("#")[2] for one in told}) == 2
        assert f"Page      {site.page}/" in said
        assert f"or {site.url}/   (each has its own sign-in)" in said
        for link in told:  # either opens the door of either name, once
            with httpx2.Client(base_url=site.url, timeout=PATIENCE, auth=PageKey()) as browser:
                assert sign_in(browser, link, site.url).status_code == 200
    finally:
        site.stop()


def test_after_its_stop_the_settings_count_again(site: Site) -> None:
    site.start()
    assert site.stop() == 0
    assert not (site.data / "gateway.url").exists()
    assert link(site) == configured(site)


def test_the_next_gateway_takes_over_what_a_killed_one_left(site: Site) -> None:
    site.start()
    site.stop(signal.SIGKILL)
    site.port = free_port()
    site.start()
    assert link(site) == site.page


@pytest.mark.parametrize("left", [b"", b"\xff\xfe", b"javascript:alert(1)", b"http:" * 900])
def test_what_is_no_address_is_passed_over(site: Site, left: bytes) -> None:
    (site.data / "gateway.url").write_bytes(left)
    assert link(site) == configured(site)


def test_a_place_that_cannot_be_written_stops_no_gateway(site: Site) -> None:
    (site.data / "gateway.url" / "full").mkdir(parents=True)
    site.start()
    assert link(site) == configured(site)
    assert "address.not_written" in site.log()
    assert site.stop() == 0


def test_a_public_url_is_never_replaced(site: Site) -> None:
    site.start()
    (site.data / "gateway.url").write_text("http://127.0.0.1:1", encoding="ascii")
    public = Site(
        site.folder, environ={**site.environ, "SIGNOFF_PUBLIC_URL": "https://ok.example.com"}
    )
    assert link(public) == "https://ok.example.com"
