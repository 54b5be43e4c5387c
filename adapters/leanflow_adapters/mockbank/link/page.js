/*
 * Mockbank's hosted page. Mockbank decides what comes next; this page shows it and sends what the user does.
 *
 * Over an application's page the SDK opens it in a frame and hands it the parameters by message. Alone in a window (as
 * the mobile wrappers open it) it takes them from its address, and goes to a redirect address at the end. At an address
 * of a bank it is that bank's own site, where the user approves or refuses; nobody is told what, and nobody is called.
 */
import { screensOf } from "./screens.js";
import { TEXTS } from "./texts.js";

const site = /^\/link\/bank\/([^/]+)$/.exec(window.location.pathname)?.[1] ?? null; // the visit to a bank's own site
const embedded = site === null && window.parent !== window;
const at = { // where the user is
  host: null, // origin of the application's page, once it has spoken
  parameters: {},
  method: "connect",
  language: "en",
  view: null, // what Mockbank said last
  screen: null, // what is shown now: a view's screen, or leave, unreachable, failed, closed
  typed: {}, // in fields, kept when the language changes
  correlation: null, // of Mockbank's last answer
  failure: null, // its last error, if that is what is shown
  retry: null, // what to do again after an error
  busy: false,
};

const ENDED = new Set(["success", "error", "closed", "redirected", "invalid"]);
const RUNS_SCRIPT = new Set(["javascript:", "data:", "vbscript:", "blob:"]);
const CAN_BE_LEFT = new Set(["bank_login", "bank_approval"]); // at a bank: what can still be refused
const PAGE_ORIGIN = window.location.origin;
const $ = (id) => document.getElementById(id);
const texts = () => TEXTS[at.language];

// --- asking Mockbank

async function ask(path, body) {
  if (at.busy) return;
  setBusy(true);
  at.retry = () => ask(path, body);
  try {
    const response = await fetch(path, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    });
    at.correlation = response.headers.get("lean-correlation-id");
    const said = await response.text();
    if (!response.ok) throw new Refusal(response.status, said);
    const before = at.view?.screen;
    at.view = JSON.parse(said);
    if (site !== null && before === undefined) at.language = at.view.language;
    at.failure = null;
    if (at.view.problem || at.view.screen !== before) { // secrets are typed anew, the username is not
      delete at.typed.otp;
      delete at.typed.password;
    }
    setBusy(false);
    showView();
  } catch (error) {
    const answered = error instanceof Refusal;
    at.failure = answered ? { status: error.status, body: error.body } : { status: null, body: null };
    setBusy(false);
    if (site !== null && error.status === 404) show("gone");
    else show(answered ? "failed" : "unreachable");
  }
}

class Refusal extends Error {
  constructor(status, body) {
    super(`Mockbank answered ${status}`);
    Object.assign(this, { status, body });
  }
}

const open = () => ask("/link/visits", { method: at.method, parameters: at.parameters });
const look = () => ask(`/link/visits/${site}/look`, {});
const step = (name, given = {}) => ask(`/link/visits/${encodeURIComponent(at.view.link_id)}/${name}`, given);

function setBusy(busy) {
  at.busy = busy;
  $("screen").setAttribute("aria-busy", String(busy));
  $("busy").textContent = busy ? texts().busy : "";
}

// --- beginning and ending

function begin(method, parameters) {
  Object.assign(at, { method, parameters, language: parameters.language === "ar" ? "ar" : "en" });
  open();
}

/* Read the parameters off the address: lists as repeated names or with commas; the redirects are this page's own. */
function fromAddress() {
  const query = new URLSearchParams(window.location.search);
  const parameters = {};
  for (const name of new Set(query.keys())) {
    const values = query.getAll(name);
    if (name === "permissions") parameters[name] = values.flatMap((value) => value.split(",")).filter(Boolean);
    else if (name === "customization") parameters[name] = parsed(values[0]);
    else if (name !== "method") parameters[name] = values[0];
  }
  const { success_redirect_url, fail_redirect_url, ...others } = parameters;
  at.redirects = { success_redirect_url, fail_redirect_url };
  for (const [name, url] of Object.entries(at.redirects)) if (usable(url)) others[name] = url; // a bank's site needs them
  return [query.get("method") ?? "", others];
}

/* An address to which a user can be sent, or nothing. */
const usable = (url) => (url && URL.canParse(url) && !RUNS_SCRIPT.has(new URL(url).protocol) ? url : undefined);

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/* Where to go at the end, the outcome in the address; null: nowhere. */
function destination(outcome) {
  const word = { SUCCESS: "success", CANCELLED: "cancelled", REDIRECT: "redirect" }[outcome.status] ?? "error";
  const { success_redirect_url: success, fail_redirect_url: fail } = at.redirects ?? at.parameters;
  if (word === "redirect" && (embedded || success || fail)) return outcome.open_banking_redirect_url;
  const given = { success, redirect: undefined, cancelled: fail, error: fail }[word];
  const wanted = usable(given ?? (embedded ? undefined : `leanlink://${word}`));
  if (!wanted) return null;
  const target = new URL(wanted);
  const { bank = {}, ...flat } = outcome;
  for (const [name, value] of Object.entries({ ...flat, ...bank })) {
    target.searchParams.set(name, typeof value === "object" ? JSON.stringify(value) : value);
  }
  return target.href;
}

function finish(outcome) {
  const told = at.correlation ? { ...outcome, lean_correlation_id: at.correlation } : { ...outcome };
  if (told.open_banking_redirect_url) { // the bank's site is where this page is, whatever name the host is called by
    told.open_banking_redirect_url = new URL(new URL(told.open_banking_redirect_url).pathname, PAGE_ORIGIN).href;
  }
  const redirect = destination(told);
  if (embedded) {
    tell({ type: at.view?.screen === "invalid" ? "invalid" : "end", callback: told, redirect });
    return;
  }
  at.redirect = redirect;
  show("closed");
  if (redirect) window.location.assign(redirect);
}

/* What the SDK is told if Mockbank cannot be asked any more. */
function ownOutcome(status, message) {
  const outcome = { status, message, exit_point: (at.view?.screen ?? "loading").toUpperCase() };
  if (status === "CANCELLED") Object.assign(outcome, { secondary_status: "FAILED", user_exit_intent: true });
  else outcome.secondary_status = "UNKNOWN";
  if (at.failure?.status) outcome.last_api_response = at.failure;
  return outcome;
}

function wantsToLeave() {
  if (at.busy || at.screen === "closed") return;
  if (site !== null) {
    if (at.view?.return_url) window.location.assign(at.view.return_url);
    else if (at.view) step("refuse");
    return;
  }
  if (at.view && ENDED.has(at.view.screen)) finish(at.view.callback);
  else if (at.screen === "unreachable" || at.screen === "failed") {
    const status = at.failure?.status;
    finish(ownOutcome("ERROR", status ? `Mockbank answered ${status}.` : "Mockbank could not be reached."));
  } else if (at.screen === "leave") showView();
  else if (at.view) show("leave");
}

async function leaves(reason) {
  await step("cancel", reason ? { exit_survey_reason: reason } : {});
  if (at.screen === "unreachable" || at.screen === "failed") {
    finish(ownOutcome("CANCELLED", "The user closed the window."));
  }
}

// --- messages between the page and the SDK

function tell(message) {
  if (at.host !== null) window.parent.postMessage(message, at.host);
}

function heard(message) {
  if (message.source !== window.parent || !message.data) return;
  if (message.data.type === "open" && at.host === null) {
    at.host = message.origin; // from now on nobody else is heard or told
    begin(message.data.method, message.data.parameters);
  } else if (message.data.type === "leave" && message.origin === at.host) {
    wantsToLeave();
  }
}

// --- showing

const screens = screensOf(at, {
  step, texts, leaves, wantsToLeave, showView, again: () => at.retry(), onSite: site !== null,
});

function showView() {
  const { screen, callback } = at.view;
  if (screen === "closed" || screen === "redirected" || (screen === "invalid" && embedded)) finish(callback);
  else show(screen);
}

function show(screen) {
  at.screen = screen;
  draw();
  focusFirst();
  tell({ type: "shown" });
}

/* What is to be read or mended first. */
function focusFirst() {
  ($("screen").querySelector('[aria-invalid="true"]') ?? $("screen").querySelector("h1"))?.focus();
}

function draw() {
  const t = texts();
  Object.assign(document.documentElement, { lang: at.language, dir: t.direction });
  document.title = `${site === null ? t.title[at.method] ?? "Mockbank" : t.title.bank} · Mockbank`;
  $("band").textContent = t.band;
  $("close").setAttribute("aria-label", t.close);
  $("close").hidden = at.screen === "closed" || (site !== null && !CAN_BE_LEFT.has(at.screen) && !at.view?.return_url);
  if (site !== null) $("top").style.borderBlockStart = `6px solid ${at.view?.bank.main_color ?? "transparent"}`;
  $("language").textContent = t.other;
  $("language").lang = at.language === "ar" ? "en" : "ar";
  $("screen").dataset.screen = at.screen ?? "";
  $("screen").replaceChildren(...(at.screen ? screens[at.screen](t).filter((one) => one !== null) : []));
}

$("close").addEventListener("click", wantsToLeave);
$("language").addEventListener("click", () => {
  at.language = at.language === "ar" ? "en" : "ar";
  draw();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && site === null) wantsToLeave(); // at a bank nothing is refused by a slip
});
window.addEventListener("focus", () => { // the frame has got the focus, and nothing in it has
  if (document.activeElement === document.body) focusFirst();
});
draw();
if (site !== null) {
  look();
} else if (embedded) {
  window.addEventListener("message", heard);
  window.parent.postMessage({ type: "hello" }, "*"); // to whoever it is: there is nothing secret in it
} else {
  begin(...fromAddress());
}
