// The page's script: it swaps the parts that the server sends, shows when the connection is lost, and sends forms without leaving the
// page. Without it every page and form works too.

const lostAfter = 5000; // milliseconds without a heartbeat, which comes every second
const main = document.querySelector("[data-stream]");
const banner = document.getElementById("connection");
const notices = document.getElementById("notices");

// alike reports whether one node can become the other.
function alike(a, b) {
  return a && b && a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");
}

// sync makes the children of one element like those of another. It keeps elements that stay, and so the focus and what is open. What is
// equal at the beginning and at the end is not moved: a notice may come or go before it.
function sync(old, fresh) {
  const wanted = [...fresh.childNodes];
  let at = old.firstChild;
  while (wanted.length && alike(at, wanted[0])) {
    change(at, wanted.shift());
    at = at.nextSibling;
  }
  let end = null; // the first of the children at the end that stay
  const last = () => (end ? end.previousSibling : old.lastChild);
  while (at !== end && wanted.length && alike(last(), wanted.at(-1))) {
    end = last();
    change(end, wanted.pop());
  }
  const keyed = new Map();
  for (let node = at; node !== end; node = node.nextSibling) {
    if (node.id) keyed.set(node.id, node);
  }
  for (const next of wanted) {
    const same = next.id ? keyed.get(next.id) : at !== end && at;
    if (alike(same, next)) {
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      change(same, next);
    } else {
      old.insertBefore(next, at);
    }
  }
  while (at !== end) {
    const following = at.nextSibling;
    at.remove();
    at = following;
  }
}

function change(old, next) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  sync(old, next);
}

function apply({ id, html }) {
  const element = document.getElementById(id);
  if (!element) return;
  const template = document.createElement("template");
  template.innerHTML = html;
  sync(element, template.content);
}

let source = null;
let lastBeat = Date.now();
let retry = 0;

function connect() {
  clearTimeout(retry);
  if (source) source.close();
  source = new EventSource(main.dataset.stream);
  source.addEventListener("fragment", (event) => apply(JSON.parse(event.data)));
  source.addEventListener("beat", () => {
    lastBeat = Date.now();
    check();
  });
  source.addEventListener("signed-out", () => {
    source.close();
    location.assign("/sign-in?next=" + encodeURIComponent(location.pathname + location.search));
  });
  source.addEventListener("error", () => {
    // The browser connects again by itself unless the answer was no stream.
    if (source.readyState === EventSource.CLOSED) retry = setTimeout(connect, 2000);
  });
}

function check() {
  const silent = Date.now() - lastBeat;
  const lost = silent > lostAfter && !document.hidden;
  banner.hidden = !lost;
  document.body.classList.toggle("lost", lost);
  if (lost) {
    // Screen readers read each change, so it changes every five seconds.
    banner.textContent = `The connection to the console is lost. What you see is more than ${5 * Math.floor(silent / 5000)} s old. It is tried again.`;
  }
}

if (main) {
  connect();
  setInterval(check, 1000);
  // A browser has six connections to a server, which hidden pages should not use up.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source.close();
    } else {
      lastBeat = Date.now();
      connect();
    }
  });
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && connect());
}

function notify(text, failed) {
  const line = document.createElement("p");
  line.className = "bar " + (failed ? "bad" : "good");
  line.textContent = text;
  notices.replaceChildren(line);
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!("live" in form.dataset)) return;
  event.preventDefault();
  const button = event.submitter;
  const body = new URLSearchParams(new FormData(form, button));
  const action = button?.getAttribute("formaction") ?? form.getAttribute("action");
  if (button) button.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(action, { method: "POST", body, headers: { Accept: "application/json" } });
    const answer = await response.json();
    if (answer.next) location.assign(answer.next);
    else notify(answer.error ?? answer.message ?? "Done.", Boolean(answer.error));
  } catch {
    notify("The console does not answer. Nothing is known about what was done.", true);
  } finally {
    button?.removeAttribute("aria-busy");
  }
});
