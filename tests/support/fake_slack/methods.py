"""The methods of Slack's Web API that the workspace knows, with their refusals. Not a test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.fake_slack.message import Message, Params, Refused
from tests.support.fake_slack.people import Channel
from tests.support.fake_slack.rules import wrong_blocks, wrong_view
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from tests.support.fake_slack.workspace import Workspace

MOST_TEXT = 4_000  # beyond it Slack splits a message in two: refused here
MOST_METADATA = 8_000
TRIGGER_SECONDS = PATIENCE
"""Slack gives three. Here no busy machine decides: a test of a late trigger says that it is."""
_NEEDED = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "chat.postEphemeral": "chat:write",
    "users.info": "users:read",
    "users.lookupByEmail": "users:read.email",
    "usergroups.users.list": "usergroups:read",
    "conversations.open": "im:write",
    "conversations.info": "channels:read",
    "conversations.list": "channels:read",
}


def authorize(slack: Workspace, method: str, params: Params, authorization: str) -> None:
    token = authorization.removeprefix("Bearer ") or params.get("token", "")
    if not token:
        raise Refused("not_authed")
    if slack.revoked:
        raise Refused("token_revoked")
    if token != slack.bot_token:
        raise Refused("invalid_auth")
    needed = _NEEDED.get(method)
    if needed is not None:
        scope(slack, needed)


def scope(slack: Workspace, needed: str) -> None:
    if needed not in slack.scopes:
        provided = ",".join(sorted(slack.scopes))
        raise Refused("missing_scope", needed=needed, provided=provided)


def auth_test(slack: Workspace, _params: Params) -> Params:
    return {
        "url": "https://test.slack.com/",
        "team": "Test",
        "user": "signoff",
        "team_id": slack.team_id,
        "user_id": slack.bot_user,
        "bot_id": slack.bot_id,
        "is_enterprise_install": False,
    }


def chat_post_message(slack: Workspace, params: Params) -> Params:
    channel = writable(slack, params.get("channel"))
    blocks = checked(slack, params)
    thread = params.get("thread_ts") or None
    if thread is not None and find(slack, channel.id, thread) is None:
        raise Refused("thread_not_found")
    now, last = slack.clock(), slack.last_post.get(channel.id)
    if last is not None and now - last < slack.window:
        raise Refused("ratelimited")
    slack.last_post[channel.id] = now
    message = Message(
        channel.id,
        next_ts(slack),
        params.get("text") or "",
        blocks,
        metadata_of(params),
        thread,
        slack.bot_id,
        params,
    )
    slack.messages.append(message)
    told = message.as_slack(metadata=True)
    return {"channel": channel.id, "ts": message.ts, "message": told}


def chat_update(slack: Workspace, params: Params) -> Params:
    channel = slack.channels.get(str(params.get("channel")))
    if channel is None:
        raise Refused("channel_not_found")
    if channel.archived:
        raise Refused("is_archived")
    message = find(slack, channel.id, str(params.get("ts")))
    if message is None:
        raise Refused("message_not_found")
    if message.bot_id != slack.bot_id:
        raise Refused("cant_update_message")
    blocks = checked(slack, params)
    message.versions.append((message.text, message.blocks))
    message.text = params.get("text") or ""
    message.blocks = blocks  # text without blocks takes the blocks away
    if "metadata" in params:
        message.metadata = metadata_of(params)
    return {"channel": channel.id, "ts": message.ts, "text": message.text}


def chat_post_ephemeral(slack: Workspace, params: Params) -> Params:
    channel = writable(slack, params.get("channel"))
    if params.get("user") not in slack.people:
        raise Refused("user_not_in_channel")
    checked(slack, params)
    slack.ephemerals.append({**params, "channel": channel.id})
    return {"message_ts": next_ts(slack)}


def conversations_open(slack: Workspace, params: Params) -> Params:
    return {"channel": {"id": direct(slack, str(params.get("users"))).id}}


def conversations_info(slack: Workspace, params: Params) -> Params:
    channel = slack.channels.get(str(params.get("channel")))
    if channel is None or (channel.private and not channel.joined):
        raise Refused("channel_not_found")
    return {"channel": channel.as_slack()}


def conversations_list(slack: Workspace, params: Params) -> Params:
    types = str(params.get("types", "public_channel")).split(",")
    found = [
        one.as_slack()
        for one in slack.channels.values()
        if one.kind in types and (one.joined or not one.private)
    ]
    return {"channels": found, "response_metadata": {"next_cursor": ""}}


def conversations_history(slack: Workspace, params: Params) -> Params:
    channel = slack.channels.get(str(params.get("channel")))
    if channel is None:
        raise Refused("channel_not_found")
    scope(slack, channel.history_scope)
    if not channel.joined:
        raise Refused("not_in_channel")
    oldest, latest = float(params.get("oldest") or 0), float(params.get("latest") or "inf")
    everything = str(params.get("include_all_metadata", "false")).lower() in ("1", "true")
    found = [
        one.as_slack(metadata=everything)
        for one in slack.messages
        if one.channel == channel.id
        and not one.deleted
        and one.thread_ts is None
        and oldest < float(one.ts) < latest
    ]
    page = found[::-1][: int(params.get("limit") or 100)]
    return {"messages": page, "has_more": len(page) < len(found)}


def conversations_replies(slack: Workspace, params: Params) -> Params:
    channel = slack.channels.get(str(params.get("channel")))
    if channel is None:
        raise Refused("channel_not_found")
    scope(slack, channel.history_scope)
    ts = str(params.get("ts"))
    if find(slack, channel.id, ts) is None:
        raise Refused("thread_not_found")
    found = [
        one.as_slack(metadata=True)
        for one in slack.messages
        if one.channel == channel.id and not one.deleted and ts in (one.ts, one.thread_ts)
    ]
    return {"messages": found, "has_more": False}


def users_info(slack: Workspace, params: Params) -> Params:
    person = slack.people.get(str(params.get("user")))
    if person is None:
        raise Refused("user_not_found")
    return {"user": person.as_slack(email="users:read.email" in slack.scopes)}


def users_lookup_by_email(slack: Workspace, params: Params) -> Params:
    for person in slack.people.values():
        if person.email == str(params.get("email")).lower() and not person.deleted:
            return {"user": person.as_slack(email=True)}
    raise Refused("users_not_found")


def usergroups_users_list(slack: Workspace, params: Params) -> Params:
    group = slack.groups.get(str(params.get("usergroup")))
    if group is None:
        raise Refused("no_such_subteam")
    return {"users": list(group.users)}


def views_open(slack: Workspace, params: Params) -> Params:
    use_trigger(slack, params.get("trigger_id"))
    return keep_view(slack, params, f"V{next(slack.serial)}")


def views_push(slack: Workspace, params: Params) -> Params:
    return views_open(slack, params)


def views_update(slack: Workspace, params: Params) -> Params:
    view_id = str(params.get("view_id"))
    if view_id not in slack.views:
        raise Refused("not_found")
    return keep_view(slack, params, view_id)


def views_publish(slack: Workspace, params: Params) -> Params:
    user = str(params.get("user_id"))
    if user not in slack.people:
        raise Refused("user_not_found")
    told = keep_view(slack, params, f"VHOME{user}")
    slack.homes[user] = told["view"]
    return told


def keep_view(slack: Workspace, params: Params, view_id: str) -> Params:
    view = params.get("view")
    if not isinstance(view, dict):
        raise Refused("invalid_arguments")
    wrong = wrong_view(view)
    if wrong:
        raise Refused("invalid_arguments", response_metadata={"messages": wrong})
    slack.views[view_id] = {**view, "id": view_id, "hash": f"h{next(slack.serial)}"}
    return {"view": slack.views[view_id]}


def use_trigger(slack: Workspace, trigger: object) -> None:
    if trigger not in slack.triggers:
        raise Refused("invalid_trigger_id")
    made = slack.triggers[str(trigger)]
    if made is None:
        raise Refused("exchanged_trigger_id")
    if slack.clock() - made > TRIGGER_SECONDS:
        raise Refused("expired_trigger_id")
    slack.triggers[str(trigger)] = None


def writable(slack: Workspace, wanted: object) -> Channel:
    name = str(wanted or "")
    channel = slack.channels.get(name)
    if channel is None and name in slack.people:
        channel = direct(slack, name)
    if channel is None:
        named = (one for one in slack.channels.values() if one.name == name.removeprefix("#"))
        channel = next(named, None)
    if channel is None or (channel.private and not channel.joined):
        raise Refused("channel_not_found")
    if channel.archived:
        raise Refused("is_archived")
    if not channel.joined and "chat:write.public" not in slack.scopes:
        raise Refused("not_in_channel")
    return channel


def direct(slack: Workspace, user: str) -> Channel:
    if user not in slack.people:
        raise Refused("user_not_found")
    return slack.channels.setdefault(f"D{user}", Channel(f"D{user}", "", direct=user))


def checked(slack: Workspace, params: Params) -> list[Params]:
    blocks = params.get("blocks") or []
    if not params.get("text") and not blocks:
        raise Refused("no_text")
    if len(params.get("text") or "") > MOST_TEXT:
        raise Refused("msg_too_long")
    wrong = wrong_blocks(blocks)
    if wrong:
        raise Refused("invalid_blocks", response_metadata={"messages": wrong})
    return list(blocks)


def find(slack: Workspace, channel: str, ts: str) -> Message | None:
    for one in slack.messages:
        if (one.channel, one.ts, one.deleted) == (channel, ts, False):
            return one
    return None


def next_ts(slack: Workspace) -> str:
    slack.last_ts = max(slack.last_ts + 1, int(slack.clock() * 1_000_000))
    return f"{slack.last_ts // 1_000_000}.{slack.last_ts % 1_000_000:06d}"


def metadata_of(params: Params) -> Params | None:
    metadata = params.get("metadata")
    if not metadata:
        return None
    if not isinstance(metadata, dict) or set(metadata) != {"event_type", "event_payload"}:
        raise Refused("invalid_metadata_format")
    if len(json.dumps(metadata)) > MOST_METADATA:
        raise Refused("metadata_too_large")
    return metadata


METHODS = {
    "auth.test": auth_test,
    "chat.update": chat_update,
    "conversations.open": conversations_open,
    "conversations.info": conversations_info,
    "conversations.list": conversations_list,
    "conversations.history": conversations_history,
    "conversations.replies": conversations_replies,
    "users.info": users_info,
    "usergroups.users.list": usergroups_users_list,
    "views.open": views_open,
    "views.push": views_push,
    "views.update": views_update,
    "views.publish": views_publish,
    "chat.postMessage": chat_post_message,
    "chat.postEphemeral": chat_post_ephemeral,
    "users.lookupByEmail": users_lookup_by_email,
}
