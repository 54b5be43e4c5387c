// Keeps the inspector's page up to date, and sends what its buttons and forms say. The server makes all of the HTML.
"use strict";

const PAUSE = 1000; // milliseconds between looks
const said = document.getElementById("said");
const lost = document.getElementById("lost");
const shown = new Map(); // section: its HTML as it came, which is not what is in the page once somebody has typed
let looking = 0; // an older look that comes back late is of no use

for (const section of document.querySelectorAll("main > section")) shown.set(section.id, section.innerHTML);
document.documentElement.classList.add("js");

// --- looking -------------------------------------------------------------------------------------------------------

async function look() {
  const turn = ++looking;
  try {
    const answer = await fetch("/", { headers: { accept: "text/html" } });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (turn === looking) exchange(page);
    lost.textContent = "";
  } catch {
    lost.textContent = "Mockbank does not answer: what stands here is old.";
  }
}

function exchange(page) {
  for (const fresh of page.querySelectorAll("main > section")) {
    const section = document.getElementById(fresh.id);
    if (section === null || shown.get(fresh.id) === fresh.innerHTML) continue;
    shown.set(fresh.id, fresh.innerHTML);
    const typed = new Map([...section.querySelectorAll("input, select")].map((field) => [key(field), field.value]));
    const focused = section.contains(document.activeElement) ? document.activeElement : null;
    const [at, start, end] = focused ? [key(focused), focused.selectionStart, focused.selectionEnd] : [];
    section.innerHTML = fresh.innerHTML; // made by the server, which escapes
    for (const field of section.querySelectorAll("input, select, button")) {
      if (typed.has(key(field))) field.value = typed.get(key(field));
      if (at !== undefined && key(field) === at) {
        field.focus({ preventScroll: true });
        if (typeof start === "number") field.setSelectionRange(start, end);
      }
    }
  }
}

// What a field or a button is for, which stays when rows come and go.
function key(element) {
  const sends = element.closest("[data-command]");
  return [element.tagName, element.name ?? "", sends?.dataset.command ?? "", sends?.dataset.args ?? ""].join(" ");
}

async function watch() {
  if (!document.hidden) await look();
  setTimeout(watch, PAUSE);
}

// --- doing ---------------------------------------------------------------------------------------------------------

async function send(command, args, told) {
  try {
    const answer = await fetch(`/_mockbank/${command}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(args),
    });
    const body = await answer.json();
    said.textContent = answer.ok ? `${told}: ${outcome(body)}` : `${told}: ${body.error}`;
    said.className = answer.ok ? "" : "bad";
  } catch {
    said.textContent = `${told}: Mockbank does not answer.`;
    said.className = "bad";
  }
  await look();
}

function outcome(body) {
  if (body.message) return body.attempts_left ? `${body.message} ${body.attempts_left} attempts left.` : body.message;
  if (body.sent === false) return "that event is forgotten.";
  if (body.disarmed === false) return "it was disarmed already.";
  return "done.";
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-command]");
  if (button === null) return;
  send(button.dataset.command, JSON.parse(button.dataset.args), button.getAttribute("aria-label") ?? button.textContent);
});

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const picked = form.querySelector("select[data-args]");
  const args = {
    ...JSON.parse(form.dataset.args),
    ...Object.fromEntries(new FormData(form)),
    ...(picked === null ? {} : JSON.parse(picked.value)),
  };
  const told = form.querySelector("button").textContent;
  for (const field of form.querySelectorAll("input")) field.value = "";
  send(form.dataset.command, args, told);
});

document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
setTimeout(watch, PAUSE);
