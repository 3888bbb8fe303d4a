// A sign-in link carries its secret behind '#', which no server, proxy or log ever sees. Take it out
// of the address bar, put it into the form and send it; somebody already signed in is asked first.
"use strict";
(() => {
  const form = document.getElementById("signin");
  function use() {
    const secret = location.hash.slice(1);
    if (!form || !secret) return;
    history.replaceState(null, "", location.pathname + location.search);
    form.elements.code.value = decodeURIComponent(secret);
    if (form.hasAttribute("data-ask")) return;
    form.submit();
  }
  use();
  addEventListener("hashchange", use); // opened where this page already stands: nothing is loaded anew
})();
