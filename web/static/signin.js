// A sign-in link carries its secret behind '#', which no server, proxy or log ever sees. Take it out
// of the address bar, put it into the form and send it; someone already signed in is asked first.
"use strict";
(() => {
  const form = document.getElementById("signin");
  function use() {
    const secret = location.hash.slice(1);
    if (!form || !secret) return;
    history.replaceState(null, "", location.pathname + location.search);
    form.elements.code.value = decodeURIComponent(secret);
    if (form.hasAttribute("data-ask")) return;
    form.requestSubmit();
  }
  function problem(text) {
    const note = document.getElementById("problem");
    note.textContent = text;
    note.hidden = false;
    form.elements.code.focus();
  }

  // With a key of this page, which is there before the code is used up: the code is good once.
  async function enter() {
    let key;
    try { key = await signoff.make(); } catch {
      problem("This browser keeps no key for this page: storage may be blocked, or the window private. Your code was not used.");
      return;
    }
    const sent = new URLSearchParams(new FormData(form));
    sent.set("key", key.open);
    try {
      const answer = await fetch("/signin", { method: "POST", body: sent, headers: { "Signoff-Script": "1" } });
      const said = await answer.json();
      if (!answer.ok) { problem(said.title); return; }
      await key.keep(said.session);
      location.replace(said.goto);
    } catch { problem("The gateway did not answer. Reload this page; if the code was used, ask for a new one."); }
  }
  if (form.hasAttribute("data-key")) form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.dataset.busy) return;
    form.dataset.busy = "1";
    await enter();
    delete form.dataset.busy;
  });
  use();
  addEventListener("hashchange", use); // opened where this page already stands: nothing is loaded again
})();
