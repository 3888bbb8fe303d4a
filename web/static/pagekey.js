// On this machine's own addresses a cookie reaches every port, so it proves nothing. The page makes a
// key that cannot leave the browser, keeps it in its origin (which has a port), and signs with it.
"use strict";
(() => {
  const session = document.body.dataset.session || ""; // "": nothing is signed here
  const bytes = new TextEncoder();
  const url64 = (from) => btoa(String.fromCharCode(...new Uint8Array(from)))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const hex = (from) => [...new Uint8Array(from)].map((one) => one.toString(16).padStart(2, "0")).join("");

  // What a person is told when something was not sent, or not taken.
  class Refusal extends Error {}

  const wait = (request) => new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
  async function keys(mode, work) {
    const opening = indexedDB.open("signoff", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("keys");
    const base = await wait(opening);
    try {
      const act = base.transaction("keys", mode);
      const ended = new Promise((done, fail) => { act.oncomplete = done; act.onabort = act.onerror = () => fail(act.error); });
      const found = await work(act.objectStore("keys"));
      await ended;
      return found;
    } finally { base.close(); }
  }

  // A fresh key, kept before anything depends on it. `keep` gives it to the session it was made for;
  // those of earlier sessions are of no use any more.
  async function make() {
    const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
    const open = url64(await crypto.subtle.exportKey("raw", pair.publicKey));
    await keys("readwrite", (store) => wait(store.put(pair.privateKey, "new")));
    return {
      open,
      keep: (id) => keys("readwrite", async (store) => { await wait(store.clear()); await wait(store.put(pair.privateKey, id)); }),
    };
  }

  // Whether this page can sign: "" if it can (or need not), "again" if the browser was signed in again
  // since, "gone" if its key is not there.
  async function trouble() {
    if (!session) return "";
    try {
      const all = await keys("readonly", (store) => wait(store.getAllKeys()));
      if (all.includes(session)) return "";
      return all.some((one) => one !== "new") ? "again" : "gone";
    } catch { return "gone"; }
  }
  const words = {
    again: "You signed in again: reload this page, then press again.",
    gone: "This browser no longer has the key of your sign-in, so this page only shows. Sign in again with a new link.",
  };

  // The headers that prove a request with exactly this body.
  async function proof(method, address, body) {
    if (!session) return {};
    const wrong = await trouble();
    if (wrong) throw new Refusal("Nothing was sent. " + words[wrong]);
    const to = new URL(address, location.href);
    const nonce = url64(crypto.getRandomValues(new Uint8Array(16)));
    const digest = hex(await crypto.subtle.digest("SHA-256", body));
    const said = ["signoff/request/1", method, to.pathname + to.search, digest, session, nonce].join("\n");
    const key = await keys("readonly", (store) => wait(store.get(session)));
    const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key, bytes.encode(said));
    return { "Signoff-Signature": [session, nonce, url64(signature)].join(".") };
  }

  // One request. A form goes as its bytes, which are what is signed. Answers {page, goto}.
  async function ask(method, address, { form, headers = {} } = {}) {
    const packed = form ? new Response(form) : null;
    const body = packed ? await packed.arrayBuffer() : new ArrayBuffer(0);
    const own = method === "GET" ? {} : { "Signoff-Script": "1" };
    const proven = method === "GET" ? {} : await proof(method, address, body);
    return new Promise((done, fail) => {
      const request = new XMLHttpRequest();
      request.open(method, address);
      request.responseType = "document"; // the one way to HTML that makes none from a string
      request.timeout = 15000;
      for (const [name, value] of Object.entries({ ...own, ...headers, ...proven })) request.setRequestHeader(name, value);
      if (packed) request.setRequestHeader("Content-Type", packed.headers.get("Content-Type"));
      request.onload = () => {
        const refused = request.response && request.response.getElementById("refused");
        const goto = request.getResponseHeader("Signoff-Goto");
        if (request.status === 401) location.reload();
        else if (refused) fail(new Refusal(refused.textContent));
        else if (goto) done({ goto });
        else if (request.response && request.status < 500) done({ page: request.response });
        else fail(new Error("status " + request.status));
      };
      request.onerror = request.ontimeout = () => fail(new Error("unreachable"));
      request.send(packed ? body : null);
    });
  }

  window.signoff = Object.freeze({ session, make, trouble, words, proof, ask, Refusal });
})();
