// Keeps an open page true: one EventSource per browser, fragments fetched through the normal GET
// path, swapped as nodes. No HTML is ever made from a string here (Trusted Types: 'none').
"use strict";
(() => {
  const body = document.body;
  if (!body.dataset.cursor) return; // not signed in
  const cards = document.getElementById("cards");
  let detail = document.getElementById("detail");
  const pill = document.getElementById("live");
  const say = document.getElementById("say");
  const bulk = document.getElementById("bulk");
  const waiting = new Map(); // new cards that would have moved the one under the pointer
  let title = document.title;
  let skew = Number(body.dataset.now) - Date.now();
  let cursor = body.dataset.cursor;
  let moving = 0, recounting = 0, quiet = 0;
  const KEPT = 20; // decided ones that stay on the page; the history has them all
  const now = () => Date.now() + skew;

  // ---- one request, answered as a document
  const load = async (url, form) =>
    (await signoff.ask(form ? "POST" : "GET", url, { form, headers: { "X-Signoff-Fragment": "1" } })).page;
  const unanswered = (error, looking) => error instanceof signoff.Refusal ? error.message : "The gateway did not answer. " + looking;

  // ---- cards
  const live = () => [...cards.querySelectorAll(".card[data-open]")];
  // Would a card put before this one move what someone sees?
  function inSight(card) {
    if (!card || document.hidden) return false;
    return card.getBoundingClientRect().top < innerHeight;
  }

  // ---- what someone looks at stays where it is, whatever becomes of the cards around it
  const head = document.querySelector(".top");
  function sight(card) {
    const box = card.getBoundingClientRect();
    return box.bottom > head.getBoundingClientRect().bottom && box.top < innerHeight;
  }
  // The top of the card, or its end where the top is out of sight.
  const edge = (card, end) => card.getBoundingClientRect()[end ? "bottom" : "top"];
  function steady(change) {
    const all = cards ? [...cards.querySelectorAll(".card")].filter(sight) : [];
    const kept = all.find((card) => card.matches(":hover")) || all.find((card) => card.contains(document.activeElement))
      || all.find((card) => card.hasAttribute("data-open")) || all[0];
    if (!kept) { change(); return; }
    const end = edge(kept) < head.getBoundingClientRect().bottom;
    const at = edge(kept, end);
    change();
    const now = kept.isConnected ? kept : document.getElementById(kept.id);
    const moved = now ? edge(now, end) - at : 0;
    if (moved) scrollBy({ top: moved, behavior: "instant" });
  }
  // A card that others decided keeps its room until it is out of sight, or the list moves anyway.
  function loosen(which = () => true) {
    const held = [...cards.querySelectorAll("[data-room]")].filter(which);
    if (!held.length) return;
    steady(() => { for (const card of held) { card.style.minHeight = ""; delete card.dataset.room; } });
  }
  function prune() {
    const over = [...cards.querySelectorAll(".card:not([data-open])")];
    const most = over.length - KEPT;
    if (most <= 0) return;
    over.sort((a, b) => Number(a.dataset.nth) - Number(b.dataset.nth));
    const old = over.slice(0, most).filter((card) => !sight(card) && !card.contains(document.activeElement));
    if (old.length) steady(() => { for (const card of old) card.remove(); });
  }
  // After a decision the next call stands where the hand still is: a second press there was not
  // meant for it. The keyboard goes on at once: it says which card it presses.
  document.addEventListener("click", (event) => {
    if (!event.detail || Date.now() > quiet || !event.target.closest(".card .acts [data-act], .card .verdict [data-act]")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);

  function keepTyping(from, to) {
    for (const old of from.querySelectorAll("details[open]")) {
      const same = to.querySelector(`details[data-part="${old.dataset.part}"]`);
      if (same) same.open = true;
    }
    for (const old of from.querySelectorAll("input[type=text], textarea, input[type=radio]:checked")) {
      const same = old.type === "radio"
        ? to.querySelector(`input[name="${old.name}"][value="${CSS.escape(old.value)}"]`)
        : to.querySelector(`[name="${old.name}"]:not([type=hidden])`);
      if (!same) continue;
      if (old.type === "radio") same.checked = true;
      else same.value = old.value;
      if (old === document.activeElement) setTimeout(() => same.focus({ preventScroll: true }), 0);
    }
  }
  // The button that had the focus, on the same revision of the call; else the card itself.
  function keepFocus(from, to) {
    const old = document.activeElement;
    if (!from.contains(old) || old.matches("input[type=text], textarea")) return;
    const revision = (card) => (card.querySelector("[name=revision]") || {}).value;
    const key = old.dataset.key, same = revision(from) === revision(to);
    const twin = !same || old === from ? null : key ? to.querySelector(`[data-key="${key}"]`)
      : old.name && old.value ? to.querySelector(`[name="${CSS.escape(old.name)}"][value="${CSS.escape(old.value)}"]`) : null;
    return twin || to;
  }

  let gone = 0;
  function replace(old, fresh, own) {
    // What was selected stays so only while it looks the same: the value names what was shown.
    const picked = old.querySelector("[data-pick]:checked"), pick = fresh.querySelector("[data-pick]");
    if (picked && pick && picked.value === pick.value) pick.checked = true;
    const focused = old.contains(document.activeElement) || old.classList.contains("here");
    if (old.classList.contains("here")) fresh.classList.add("here");
    const still = old.hasAttribute("data-open") && fresh.hasAttribute("data-open");
    if (still) keepTyping(old, fresh);
    const focus = still ? keepFocus(old, fresh) : focused ? fresh : null;
    if (!still) {
      fresh.dataset.nth = ++gone;
      // Nothing else is on the screen to be moved away: then the next one may come up at once.
      const alone = live().every((card) => card === old || !sight(card));
      if (alone && sight(old)) quiet = Date.now() + 600;
      if (!own && (old.dataset.room || (old.hasAttribute("data-open") && sight(old) && !alone))) {
        fresh.style.minHeight = old.getBoundingClientRect().height + "px";
        fresh.dataset.room = "1";
      }
    }
    steady(() => { old.replaceWith(fresh); settle(fresh); });
    if (focus) focus.focus({ preventScroll: true });
    if (!still && Number(cards && cards.dataset.more)) { clearTimeout(moving); moving = setTimeout(resync, 300); }
    if (!still && old.hasAttribute("data-open")) tell(fresh.dataset.said || "A call was decided.");
    if (picked) chosen();
  }

  const place = (fresh) => live().find((card) => card.dataset.order > fresh.dataset.order);
  function insert(fresh) {
    cards.insertBefore(fresh, place(fresh) || null);
    fresh.classList.add("new");
    // A card that has just appeared cannot be pressed by a hand already on its way elsewhere.
    fresh.dataset.early = "1";
    setTimeout(() => { delete fresh.dataset.early; guard(); }, 500);
    settle(fresh);
  }

  function put(fresh, own = false) {
    if (!fresh) return;
    fresh = document.adoptNode(fresh);
    const old = document.getElementById(fresh.id);
    if (old) {
      if (old.dataset.version !== fresh.dataset.version) replace(old, fresh, own);
    } else if (!fresh.hasAttribute("data-open")) {
      // One of those behind, which no one counts here: ask how many are left.
      if (!waiting.delete(fresh.id) && Number(cards.dataset.more)) { clearTimeout(recounting); recounting = setTimeout(counted, 300); }
    } else {
      const known = waiting.has(fresh.id);
      if (inSight(place(fresh))) waiting.set(fresh.id, fresh);
      else { waiting.delete(fresh.id); steady(() => insert(fresh)); }
      if (!known) tell("New: " + (fresh.dataset.said || "a call waits for a decision") + ".");
    }
    if (!own) prune();
    count();
  }

  function release() {
    loosen();
    for (const fresh of waiting.values()) insert(fresh);
    waiting.clear();
    count();
    const first = live()[0];
    if (first) { mark(first); first.scrollIntoView({ block: "nearest" }); }
  }
  function mark(card) {
    for (const other of cards.querySelectorAll(".card.here")) other.classList.remove("here");
    card.classList.add("here");
    card.focus({ preventScroll: true });
  }
  document.addEventListener("signoff-new", (event) => { if (waiting.size) { event.preventDefault(); release(); } });

  function settle(root) {
    tick();
    for (const time of root.querySelectorAll("time[datetime]")) when(time);
    guard();
  }

  async function refresh(id) {
    try {
      if (detail) {
        if (detail.dataset.id !== id) return;
        const fresh = (await load(location.pathname)).getElementById("detail");
        if (fresh && fresh.dataset.version !== document.getElementById("detail").dataset.version) {
          const old = document.getElementById("detail");
          const node = document.adoptNode(fresh);
          keepTyping(old, node);
          old.replaceWith(node);
          settle(node);
          tell(node.dataset.said || "This approval changed.");
        }
      } else if (cards) put(await cardOf(id));
    } catch { later(() => refresh(id)); }
  }
  const cardOf = async (id) => (await load("/approvals/" + encodeURIComponent(id) + "/card")).querySelector(".card");
  // Fetched at once and put in the order they came: what is later does not go above.
  async function refreshAll(ids, own = false) {
    if (!cards) { ids.forEach(refresh); return; }
    for (const [id, coming] of ids.map((one) => [one, cardOf(one).catch(() => undefined)])) {
      const fresh = await coming;
      if (fresh === undefined) later(() => refresh(id)); else put(fresh, own);
    }
  }

  // Whether an agent still waits changes without an event: look again at what is on the screen.
  function lookAgain() {
    for (const card of live()) {
      const box = card.getBoundingClientRect();
      const reading = !getSelection().isCollapsed && card.contains(getSelection().anchorNode);
      if (box.bottom > 0 && box.top < innerHeight && !card.dataset.busy && !reading) refresh(card.dataset.id);
    }
  }

  async function resync() {
    if (!cards) { if (detail) refresh(detail.dataset.id); banners(); return; }
    try {
      const page = await load("/");
      banners(page);
      const shown = new Set();
      for (const fresh of [...page.querySelectorAll(".card")]) { shown.add(fresh.id); put(fresh); }
      for (const card of live()) if (!shown.has(card.id)) refresh(card.dataset.id);
      // What came in since stands here too, behind what the page begins with.
      const all = shown.size + Number(page.getElementById("cards").dataset.more);
      cards.dataset.more = Math.max(0, all - live().length - waiting.size);
      count();
    } catch { later(resync); }
  }
  const later = (again) => setTimeout(again, 2000 + Math.random() * 1000);

  function count() {
    if (!cards) return;
    const more = Number(cards.dataset.more);
    const open = live().length + waiting.size + more;
    const grave = ".card.high[data-open], .card.critical[data-open]";
    const high = cards.querySelectorAll(grave).length + [...waiting.values()].filter((card) => card.matches(grave)).length;
    document.getElementById("summary").textContent = open
      ? open + (open === 1 ? " call" : " calls") + (high ? ", " + high + " of high risk" : "") : "";
    badge(open);
    const note = document.getElementById("more");
    note.hidden = more === 0;
    note.firstElementChild.textContent = more;
    document.getElementById("none").hidden = cards.childElementCount > 0;
    const fresh = document.getElementById("fresh");
    fresh.parentElement.hidden = waiting.size === 0;
    fresh.textContent = waiting.size + " new above. Show";
    const clear = document.getElementById("clear");
    if (clear) clear.hidden = !cards.querySelector(".card:not([data-open])");
  }
  function badge(open) {
    document.title = (open ? "(" + open + ") " : "") + title;
    const icon = document.getElementById("icon");
    const want = open ? icon.dataset.dot : icon.dataset.plain;
    if (icon.getAttribute("href") !== want) icon.href = want;
    const nav = document.getElementById("open-count");
    if (nav) { nav.textContent = open; nav.hidden = open === 0; }
  }
  const tell = (text) => { say.textContent = text; };

  // ---- time: the server's clock, the viewer's zone
  function span(ms) {
    const s = Math.max(0, Math.ceil(ms / 1000));
    if (s >= 5400) return Math.round(s / 3600) + " h";
    if (s >= 3600) return "1 h " + Math.floor((s - 3600) / 60) + " min";
    return Math.floor(s / 60) + ":" + String(s % 60).padStart(2, "0");
  }
  function tick() {
    wait();
    for (const clock of document.querySelectorAll(".clock[data-expires]")) {
      const left = Number(clock.dataset.expires) - now();
      const text = left > 0 ? span(left) : "0:00";
      const b = clock.querySelector("b");
      if (b.textContent !== text) b.textContent = text;
      clock.classList.toggle("soon", left < 60000);
      const card = clock.closest("[data-id]");
      const bar = card.querySelector("progress.left");
      if (bar) { bar.value = Math.max(0, left); bar.classList.toggle("soon", left < 60000); }
      if (left <= 0 && !card.dataset.over) {
        card.dataset.over = "1";
        guard();
        setTimeout(() => refresh(card.dataset.id), 1200);
      }
    }
  }
  // What may still be taken back for sure: once that is over, the start itself is what changes the card.
  function wait() {
    for (const one of document.querySelectorAll("[data-runs]")) {
      const left = Number(one.dataset.runs) - now();
      const text = span(left), b = one.querySelector("b");
      if (left <= 0) one.remove(); else if (b.textContent !== text) b.textContent = text;
    }
  }
  function ago(ms) {
    const s = Math.max(0, Math.round((now() - ms) / 1000));
    if (s < 5) return "just now";
    if (s < 60) return s + " s ago";
    if (s < 3600) return Math.floor(s / 60) + " min ago";
    if (s < 86400) return Math.floor(s / 3600) + " h ago";
    return Math.floor(s / 86400) + " d ago";
  }
  function when(time) {
    const at = new Date(time.dateTime);
    time.title = at.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
    if (time.dataset.as === "ago") time.textContent = ago(at.getTime());
    else if (time.dataset.as === "clock") time.textContent = at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
    else time.textContent = at.toLocaleString(undefined, { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  }
  const times = () => document.querySelectorAll("time[datetime]").forEach(when);

  // ---- may buttons be pressed?
  const hold = (root, on) => root.querySelectorAll("[data-act]").forEach((b) => { b.disabled = on; });
  function guard() {
    const stale = body.dataset.live === "stale" || body.dataset.key;
    for (const card of document.querySelectorAll("[data-id]")) {
      if (card.dataset.busy) continue;
      hold(card, stale || Boolean(card.dataset.over || card.dataset.early));
    }
    if (bulk) hold(bulk, stale || Boolean(bulk.dataset.busy));
    // What only opens stays good while the gateway is silent; without the key nothing can follow.
    for (const one of document.querySelectorAll(OPENS)) {
      if (body.dataset.key) one.setAttribute("aria-disabled", "true"); else one.removeAttribute("aria-disabled");
    }
  }
  const OPENS = ".acts summary.btn, .bulk summary.btn, .acts a[data-key=edit]";
  document.addEventListener("click", (event) => {
    if (body.dataset.key && event.target.closest(OPENS)) event.preventDefault();
  });

  // ---- the stream
  let last = Date.now();
  function state(to) {
    if (to === "stale" && body.dataset.live !== "stale") {
      const since = new Date(last).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
      pill.lastElementChild.textContent = "Stale since " + since;
      pill.title = "Nothing has been heard from the gateway. Buttons are off until it answers.";
    } else if (to !== "stale") {
      pill.lastElementChild.textContent = to === "live" ? "Live" : "Reconnecting";
      pill.title = "";
    }
    const was = body.dataset.live;
    body.dataset.live = pill.dataset.state = to;
    guard();
    if (to === "live" && was && was !== "live") resync();
  }
  const pending = new Set();
  let flush = 0;
  function heard(message) {
    if (message.t === "eyes") { looked = Date.now(); return; }
    last = Date.now();
    if (message.now) skew = message.now - Date.now();
    if (message.seq) cursor = message.seq;
    if (message.t === "away") { if (body.dataset.live !== "stale") state("wait"); return; }
    if (message.t === "bye") { location.reload(); return; }
    if (body.dataset.live !== "live") state("live");
    if (message.t === "resync") resync();
    if (message.t === "change" && message.kind === "held") notify(message.id);
    // Something was frozen or thawed, or the policy was read: everybody is told, on every page.
    if (message.t === "change" && !message.id) banners();
    if (message.t === "change" && message.id) {
      pending.add(message.id);
      flush = flush || setTimeout(() => {
        flush = 0;
        const ids = [...pending];
        pending.clear();
        if (ids.length > 20) resync(); else refreshAll(ids);
        if (!cards) counted();
      }, 60);
    }
  }
  async function banners(page) {
    try {
      const fresh = document.adoptNode((page || await load("/banners")).getElementById("banners"));
      const old = document.getElementById("banners");
      if (fresh.textContent.trim() !== old.textContent.trim()) steady(() => old.replaceChildren(...fresh.childNodes));
    } catch { /* the next one asks again */ }
  }
  async function counted() {
    try {
      const me = await (await fetch("/api/v1/me")).json();
      if (typeof me.pending !== "number") return;
      if (!cards) { badge(me.pending); return; }
      cards.dataset.more = Math.max(0, me.pending - live().length - waiting.size);
      count();
    } catch { /* the next event asks again */ }
  }

  const bus = "BroadcastChannel" in window ? new BroadcastChannel("signoff") : null;
  let leading = false;
  const pass = (message) => { heard(message); if (bus) bus.postMessage(message); };
  if (bus) bus.onmessage = ({ data }) => {
    if (data.t === "hello") { if (leading && body.dataset.live === "live") bus.postMessage({ t: "beat", now: now() }); }
    else heard(data);
  };
  function listen() {
    leading = true;
    const stream = new EventSource("/events?after=" + cursor);
    const on = (name, t) => stream.addEventListener(name, (event) => pass({ t, ...JSON.parse(event.data) }));
    on("change", "change"); on("resync", "resync"); on("beat", "beat"); on("bye", "bye");
    stream.onerror = () => {
      if (bus) bus.postMessage({ t: "away" });
      if (body.dataset.live !== "stale") state("wait");
      if (stream.readyState === EventSource.CLOSED) {
        stream.close();
        fetch("/api/v1/me").then((answer) => { if (answer.status === 401) location.reload(); else setTimeout(listen, 2000); },
          () => setTimeout(listen, 3000));
      }
    };
    addEventListener("pagehide", () => stream.close(), { once: true });
  }
  if (navigator.locks) navigator.locks.request("signoff-live", () => { listen(); return new Promise(() => {}); });
  else listen();
  if (bus) bus.postMessage({ t: "hello" });
  let alarm = 0;
  setInterval(() => {
    const limit = body.dataset.live === "wait" ? 8000 : 40000;
    if (body.dataset.live !== "stale" && Date.now() - last > limit) state("stale");
    if (++alarm % 5 === 0) steady(times);
    if (cards) loosen((card) => !sight(card));
    if (alarm % 20 === 0 && cards && !document.hidden && body.dataset.live === "live") lookAgain();
    tick();
  }, 1000);
  // A phone that was asleep: what it shows is old until it has heard again.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && Date.now() - last > 40000) { state("stale"); resync(); }
  });

  // ---- decisions
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("form[data-decide]") || !cards) return;
    event.preventDefault();
    const card = form.closest(".card");
    if (card.dataset.busy) return;
    card.dataset.busy = "1";
    const sent = new URLSearchParams(new FormData(form, event.submitter));
    hold(card, true);
    try {
      const fresh = (await load(form.getAttribute("action"), sent)).querySelector(".card");
      if (!fresh) throw new Error("no card");
      const next = live()[live().indexOf(card) + 1] || live().find((other) => other !== card);
      card.dataset.version = "";
      const refused = fresh.querySelector(".alarm[role=alert]:not([hidden])");
      if (!refused) for (const fold of card.querySelectorAll("details[open]")) fold.open = false;
      put(fresh, true);
      if (!card.hasAttribute("data-open")) { // taken back: what was decided stays where it is
        const now = document.getElementById(fresh.id);
        const note = now.querySelector(".alarm:not([hidden])");
        tell(note ? note.textContent.trim() : fresh.dataset.said);
      } else if (!fresh.hasAttribute("data-open")) {
        quiet = Date.now() + 600;
        loosen();
        prune();
        if (next) { mark(next); next.scrollIntoView({ block: "nearest" }); } else if (waiting.size) release();
      }
      else {
        const now = document.getElementById(fresh.id);
        const note = now.querySelector(".alarm:not([hidden])");
        if (note) tell(note.textContent.trim());
        else if (form.closest("[data-part=extend]")) tell(now.querySelector("[data-part=extend] p").textContent.split(".")[0] + ".");
        setTimeout(() => { if (document.activeElement === document.body) mark(now); }, 0);
      }
    } catch (error) {
      delete card.dataset.busy;
      guard();
      const note = card.querySelector("[data-note]");
      note.hidden = false;
      note.textContent = unanswered(error, "Look at the card again before pressing once more.");
      tell(note.textContent);
      later(() => refresh(card.dataset.id));
    }
  });
  // ---- several at once, of one tool
  const picks = () => [...cards.querySelectorAll("[data-pick]:checked")];
  function chosen(latest) {
    const all = picks();
    const other = latest && all.find((one) => one.dataset.pick !== latest.dataset.pick);
    if (other) {
      latest.checked = false;
      tell("Only calls of one tool at a time. Clear the selection first.");
      document.getElementById("bulk-what").textContent = say.textContent;
      return;
    }
    document.getElementById("bulk-count").textContent = all.length ? " " + all.length : "";
    document.getElementById("bulk-what").textContent = all.length + (all.length === 1 ? " call of " : " calls of ")
      + (all.length ? all[0].dataset.pick.split(" ").pop() : "");
    const every = alike(all[0]);
    const more = document.getElementById("bulk-all");
    more.hidden = every.length <= all.length;
    more.textContent = "Select all " + every.length;
  }
  // The calls of one tool that may be decided at once: as many as one press takes.
  const alike = (one) => one ? [...cards.querySelectorAll("[data-pick]")].filter((other) => other.dataset.pick === one.dataset.pick).slice(0, 50) : [];
  function remark(card, text) {
    const note = card.querySelector("[data-note]");
    if (!note || !text) return;
    tell(text);
    note.hidden = false;
    note.textContent = text;
    setTimeout(() => { note.hidden = true; }, 5000);
  }
  function pick(card) {
    const box = card.querySelector("[data-pick]");
    if (box) { box.checked = !box.checked; chosen(box); }
    else remark(card, card.dataset.alone);
  }
  document.addEventListener("signoff-note", (event) => remark(event.target, event.detail));
  document.addEventListener("signoff-pick", (event) => pick(event.target));
  document.addEventListener("change", (event) => { if (event.target.matches("[data-pick]")) chosen(event.target); });
  if (bulk) bulk.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (bulk.dataset.busy) return;
    bulk.dataset.busy = "1";
    const sent = new URLSearchParams(new FormData(bulk, event.submitter));
    const ids = picks().map((one) => one.value.split(":")[0]);
    guard();
    try {
      const results = document.adoptNode((await load("/bulk", sent)).getElementById("results"));
      const close = results.querySelector(".close a");
      close.textContent = "Close";
      close.addEventListener("click", (pressed) => { pressed.preventDefault(); results.remove(); });
      document.getElementById("results-here").replaceChildren(results);
      if (results.querySelector("li")) { bulk.reset(); for (const one of picks()) one.checked = false; bulk.querySelector("details").open = false; chosen(); }
      results.focus({ preventScroll: true });
      tell(results.querySelector("h2").textContent);
      quiet = Date.now() + 600;
      refreshAll(ids, true);
    } catch (error) {
      tell(unanswered(error, "Look at the calls again before pressing once more."));
      document.getElementById("bulk-what").textContent = say.textContent;
      later(resync);
    }
    delete bulk.dataset.busy;
    guard();
  });
  if (bulk) bulk.addEventListener("reset", () => setTimeout(chosen, 0));

  // ---- where the page signs: every other form, and what gives away more than the page
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.getAttribute("method") !== "post" || !signoff.session) return;
    event.preventDefault();
    if (form.dataset.busy) return;
    form.dataset.busy = "1";
    const filled = new FormData(form, event.submitter);
    const sent = form.getAttribute("enctype") ? filled : new URLSearchParams(filled);
    try {
      const { goto, page } = await signoff.ask("POST", form.getAttribute("action"), { form: sent });
      if (goto) go(goto); else show(page);
    } catch (error) { mention(form, unanswered(error, "Look again before pressing once more.")); }
    delete form.dataset.busy;
  });
  function go(to) {
    const next = new URL(to, location.href);
    const same = next.pathname + next.search === location.pathname + location.search;
    location.assign(next);
    if (same && next.hash) location.reload(); // a fragment alone loads nothing
  }
  // An answer in place of the page: what it says stands nowhere else (a token is shown once).
  function show(page) {
    const main = page.getElementById("main");
    if (!main || !page.body.dataset.cursor) { location.reload(); return; }
    const banner = page.getElementById("banners");
    title = page.title;
    document.adoptNode(main);
    document.getElementById("main").replaceWith(main);
    detail = document.getElementById("detail");
    if (banner) document.getElementById("banners").replaceChildren(...document.adoptNode(banner).childNodes);
    badge(Number(page.body.dataset.pending || 0));
    prepare(main);
    settle(main);
    scrollTo({ top: 0, behavior: "instant" });
    const first = main.querySelector("[autofocus]") || main.querySelector(".notice, .once") || main;
    if (!first.matches("button, input, select, textarea, a[href]")) first.tabIndex = -1;
    first.focus();
  }
  // Beside what was pressed, and heard.
  function mention(form, text) {
    let note = form.querySelector("[data-mention]");
    if (!note) {
      note = document.createElement("p");
      note.className = "notice bad";
      note.dataset.mention = "";
      form.append(note);
    }
    note.textContent = text;
    tell(text);
  }
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-export]");
    if (!link || !signoff.session) return;
    event.preventDefault();
    if (link.getAttribute("aria-busy")) return;
    link.setAttribute("aria-busy", "true");
    tell("The file is being made.");
    try {
      const answer = await fetch(link.href, { headers: await signoff.proof("GET", link.href, new ArrayBuffer(0)) });
      if (!answer.ok) throw new signoff.Refusal("Nothing was exported. " + (answer.status === 401 ? "Sign in again." : "Reload this page, then press again."));
      const save = document.createElement("a");
      save.href = URL.createObjectURL(await answer.blob());
      save.download = "signoff-" + link.pathname.split("/").pop().replace("export", "history");
      save.click();
      setTimeout(() => URL.revokeObjectURL(save.href), 60000);
      tell("The file is saved.");
    } catch (error) { mention(link.parentElement, unanswered(error, "Nothing was exported.")); }
    link.removeAttribute("aria-busy");
  });
  // A key that is not there, or of an older sign-in: said before someone presses.
  async function keyed() {
    const wrong = await signoff.trouble();
    const note = document.getElementById("keyless");
    if (!note || wrong === (body.dataset.key || "")) return;
    if (wrong) body.dataset.key = wrong; else delete body.dataset.key;
    note.hidden = !wrong;
    if (wrong) {
      const link = note.querySelector("a");
      note.querySelector("span").textContent = signoff.words[wrong];
      link.textContent = wrong === "again" ? "Reload" : "Sign in";
      link.href = wrong === "again" ? location.href : "/signin?next=" + encodeURIComponent(location.pathname + location.search);
    }
    guard();
  }
  keyed();
  addEventListener("focus", keyed);

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (!button) return;
    if (button.dataset.do === "dismiss") {
      const card = button.closest(".card");
      const next = card.nextElementSibling || card.previousElementSibling;
      steady(() => card.remove());
      if (next) next.focus({ preventScroll: true });
      count();
    } else if (button.dataset.do === "clear") {
      steady(() => cards.querySelectorAll(".card:not([data-open])").forEach((card) => card.remove()));
      count();
    } else if (button.dataset.do === "all") {
      for (const one of alike(picks()[0])) one.checked = true;
      chosen();
    } else if (button.dataset.do === "fresh") release();
    else if (button.dataset.do === "copy") {
      const from = document.getElementById(button.dataset.from);
      navigator.clipboard.writeText(from ? from.value || from.textContent : button.dataset.text).then(() => { button.textContent = "Copied"; });
    } else if (button.dataset.do === "notify") {
      Notification.requestPermission().then((answer) => {
        button.disabled = true;
        button.textContent = answer === "granted" ? "You will be notified" : "The browser does not allow it";
      });
    }
  });
  // Without values unless a setting says so: a lock screen is no place for them. The leader alone
  // speaks, whatever page it shows, and only if no tab of ours is being looked at.
  let looked = 0, speak = 0;
  const asking = new Set();
  function notify(id) {
    if (!document.hidden) { if (bus) bus.postMessage({ t: "eyes" }); return; }
    if (!leading || !("Notification" in window) || Notification.permission !== "granted") return;
    asking.add(id);
    speak = speak || setTimeout(async () => {
      const ids = [...asking];
      speak = 0;
      asking.clear();
      if (Date.now() - looked < 2000) return;
      const one = ids.length === 1 && await cardOf(ids[0]).catch(() => null);
      const some = ids.length === 1 ? "A call waits for your decision" : ids.length + " calls wait for your decision";
      const title = one && one.dataset["values" in body.dataset ? "sentence" : "notice"];
      const note = new Notification(title || some, { tag: "signoff", body: title ? one.dataset.asker : "" });
      note.onclick = () => { window.focus(); if (!cards) location.assign("/"); note.close(); };
    }, 250);
  }
  const ask = document.querySelector("[data-do=notify]");
  if (ask && "Notification" in window && Notification.permission === "default") ask.hidden = false;
  // A form's times: shown and typed in the viewer's zone, sent in UTC, so that an address means the same to everybody.
  const minutes = (at, zone) => new Date(at.getTime() - (zone ? at.getTimezoneOffset() * 60000 : 0)).toISOString().slice(0, 16);
  function prepare(root) {
    for (const node of root.querySelectorAll("[data-js]")) node.hidden = false;
    const zoned = [...root.querySelectorAll("input[data-utc]")];
    for (const field of zoned) {
      const at = field.value && new Date(field.value + "Z");
      if (at && !isNaN(at)) field.value = minutes(at, true);
      field.form.addEventListener("formdata", (event) => {
        const typed = field.value && new Date(field.value);
        if (typed && !isNaN(typed)) event.formData.set(field.name, minutes(typed, false));
      });
    }
    // An address to hand on holds what was asked for and nothing empty.
    for (const form of root.querySelectorAll("form[role=search]")) form.addEventListener("formdata", ({ formData }) => {
      for (const [name, value] of [...formData]) if (!value) formData.delete(name);
    });
    const zone = document.getElementById("zone");
    if (zone && zoned.length) zone.textContent = "Times here are yours (" + Intl.DateTimeFormat().resolvedOptions().timeZone + ").";
  }
  prepare(document);

  const here = document.querySelector(".nav [aria-current]");
  if (here && here.offsetLeft + here.offsetWidth > here.parentElement.clientWidth) here.parentElement.scrollLeft = here.offsetLeft - 40;
  times();
  tick();
  if (cards) count(); else badge(Number(body.dataset.pending || 0));
})();
