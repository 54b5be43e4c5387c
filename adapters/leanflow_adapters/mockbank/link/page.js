/*
 * Mockbank's hosted page. Mockbank decides what comes next; this page shows it and sends what the user does.
 *
 * Over an application's page the SDK opens it in a frame and hands it the parameters by message. Alone in a window (as
 * the mobile wrappers open it) it takes them from its address, and goes to a redirect address at the end.
 */
import {
  EXCLAMATION, TEMPLE, TICK, actions, button, drawing, filled, heading, make, paragraph, push, submit,
} from "./elements.js";
import { TEXTS } from "./texts.js";

const embedded = window.parent !== window;
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

const ENDED = new Set(["success", "error", "closed", "invalid"]);
const RUNS_SCRIPT = new Set(["javascript:", "data:", "vbscript:", "blob:"]);
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
    show(answered ? "failed" : "unreachable");
  }
}

class Refusal extends Error {
  constructor(status, body) {
    super(`Mockbank answered ${status}`);
    Object.assign(this, { status, body });
  }
}

const open = () => ask("/link/visits", { method: at.method, parameters: at.parameters });
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
  return [query.get("method") ?? "", others];
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/* Where to go at the end, the outcome in the address; null: nowhere. */
function destination(outcome) {
  const good = outcome.status === "SUCCESS";
  const word = { SUCCESS: "success", CANCELLED: "cancelled" }[outcome.status] ?? "error";
  const { success_redirect_url: success, fail_redirect_url: fail } = at.redirects ?? at.parameters;
  const wanted = (good ? success : fail) ?? (embedded ? null : `leanlink://${word}`);
  if (!wanted || !URL.canParse(wanted)) return null;
  const target = new URL(wanted);
  if (RUNS_SCRIPT.has(target.protocol)) return null;
  const { bank = {}, ...flat } = outcome;
  for (const [name, value] of Object.entries({ ...flat, ...bank })) {
    target.searchParams.set(name, typeof value === "object" ? JSON.stringify(value) : value);
  }
  return target.href;
}

function finish(outcome) {
  const told = at.correlation ? { ...outcome, lean_correlation_id: at.correlation } : outcome;
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

const bankName = (bank) => (at.language === "ar" ? bank.arabic_name : bank.name);

function badge(bank) {
  const mark = make("span", { class: "badge", "aria-hidden": "true" }, drawing(TEMPLE));
  if (/^#[0-9a-f]{6}$/i.test(bank.main_color)) mark.style.background = bank.main_color;
  return mark;
}

const who = () => make("p", { class: "who" }, badge(at.view.bank), bankName(at.view.bank));

function problem() {
  const { problem: word, attempts_left: left } = at.view;
  if (!word) return null;
  const said = [texts().problems[word] ?? texts().errors.other.title];
  if (left !== null) {
    const forms = texts().attempts;
    said.push(filled(forms[new Intl.PluralRules(at.language).select(left)] ?? forms.other, { n: left }));
  }
  return make("p", { class: "problem", role: "alert", id: "problem" }, said.join(" "));
}

function field(name, label, attributes) {
  const input = make("input", {
    name, required: true, value: at.typed[name] ?? "", "aria-invalid": at.view.problem ? "true" : null,
    "aria-describedby": at.view.problem ? "problem hint" : "hint",
    input: () => { at.typed[name] = input.value; },
    ...attributes,
  });
  return make("label", {}, label, input);
}

function form(send, ...content) {
  const submitted = (event) => {
    event.preventDefault();
    send(Object.fromEntries(new FormData(event.target)));
  };
  return make("form", { submit: submitted }, ...content);
}

function bankButton(bank, t) {
  const click = () => step("bank", { bank_identifier: bank.identifier });
  const off = bank.usable ? [] : [make("small", {}, t.banks.off)];
  return make(
    "button", { type: "button", class: "bank", disabled: !bank.usable, click },
    badge(bank), make("span", {}, bankName(bank), ...off),
  );
}

const SCREENS = {
  banks: (t) => [
    heading(t.banks.title), paragraph(t.banks.text), problem(),
    make("ul", { class: "banks" }, ...at.view.banks.map((bank) => make("li", {}, bankButton(bank, t)))),
  ],
  permissions: (t) => [
    heading(t.permissions.title), who(), paragraph(t.permissions.text),
    make("ul", { class: "grants" }, ...at.view.permissions.map((name) => make("li", {}, t.grants[name] ?? name))),
    paragraph(t.permissions.note, "hint"), push(),
    actions(button(t.permissions.allow, () => step("consent")),
      at.parameters.bank_identifier ? null : button(t.back, () => step("back"), "other")),
  ],
  credentials: (t) => [
    heading(t.credentials.title), who(), problem(),
    form((typed) => step("credentials", typed),
      field("username", t.credentials.username, {
        autocomplete: "username", autocapitalize: "none", spellcheck: "false", dir: "ltr",
      }),
      field("password", t.credentials.password, { type: "password", autocomplete: "current-password", dir: "ltr" }),
      make("p", { class: "hint", id: "hint" }, t.credentials.hint), push(),
      actions(submit(t.credentials.go), button(t.back, () => step("back"), "other"))),
  ],
  otp: (t) => [
    heading(t.otp.title), who(), paragraph(filled(t.otp.text, { bank: bankName(at.view.bank) })), problem(),
    form((typed) => step("otp", typed),
      field("otp", t.otp.label, {
        class: "code", inputmode: "numeric", autocomplete: "one-time-code", maxlength: "12", dir: "ltr",
      }),
      make("p", { class: "hint", id: "hint" }, t.otp.hint), push(), actions(submit(t.otp.go))),
  ],
  success: (t) => outcome(t.success[at.method], TICK, button(t.done, wantsToLeave), "good"),
  error: (t) => outcome(t.errors[at.view.problem] ?? t.errors.other, EXCLAMATION, button(t.close, wantsToLeave)),
  invalid: (t) => outcome(
    { title: t.invalid, text: make("bdi", { lang: "en" }, at.view.callback.message) },
    EXCLAMATION,
    button(t.close, wantsToLeave),
  ),
  unreachable: (t) => trouble(t.unreachable, t),
  failed: (t) => trouble(t.failed, t),
  leave: (t) => [
    heading(t.leave.title), paragraph(t.leave.text),
    form((typed) => leaves(typed.reason),
      make("fieldset", {}, make("legend", {}, t.leave.why), ...Object.entries(t.leave.reasons).map(([name, text]) =>
        make("label", {}, make("input", { type: "radio", name: "reason", value: name }), text))),
      push(), actions(submit(t.leave.go), button(t.leave.stay, showView, "other"))),
  ],
  closed: (t) => [
    heading(t.closed.title),
    at.redirect ? make("a", { class: "main", href: at.redirect }, t.closed.app) : null,
  ],
};

const outcome = (said, path, action, kind = "") => [
  make("div", { class: `outcome ${kind}` }, drawing(path)),
  heading(said.title), paragraph(said.text), push(), actions(...[action].flat()),
];

const trouble = (said, t) => outcome(
  said, EXCLAMATION, [button(t.again, () => at.retry()), button(t.close, wantsToLeave, "other")],
);

function showView() {
  if (at.view.screen === "closed" || (at.view.screen === "invalid" && embedded)) finish(at.view.callback);
  else show(at.view.screen);
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
  document.title = `${t.title[at.method] ?? "Mockbank"} · Mockbank`;
  $("band").textContent = t.band;
  $("close").setAttribute("aria-label", t.close);
  $("close").hidden = at.screen === "closed";
  $("language").textContent = t.other;
  $("language").lang = at.language === "ar" ? "en" : "ar";
  $("screen").dataset.screen = at.screen ?? "";
  $("screen").replaceChildren(...(at.screen ? SCREENS[at.screen](t).filter((one) => one !== null) : []));
}

$("close").addEventListener("click", wantsToLeave);
$("language").addEventListener("click", () => {
  at.language = at.language === "ar" ? "en" : "ar";
  draw();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") wantsToLeave();
});
window.addEventListener("focus", () => { // the frame has got the focus, and nothing in it has
  if (document.activeElement === document.body) focusFirst();
});
draw();
if (embedded) {
  window.addEventListener("message", heard);
  window.parent.postMessage({ type: "hello" }, "*"); // to whoever it is: there is nothing secret in it
} else {
  begin(...fromAddress());
}
