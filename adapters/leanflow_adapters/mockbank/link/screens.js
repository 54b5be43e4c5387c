/*
 * What each screen of the hosted page has on it: functions of its texts that return elements, top to bottom. Nothing
 * here asks Mockbank: it calls what the page does.
 */
import {
  EXCLAMATION, TEMPLE, TICK, actions, button, drawing, filled, heading, make, paragraph, push, submit,
} from "./elements.js";

/*
 * Return the screens by name.
 *   at: where the user is, as the page keeps it.
 *   does: what the page does: step, texts, leaves, wantsToLeave, showView, again; onSite: whether it is a bank's own site.
 */
export function screensOf(at, does) {
  const { step, texts, leaves, wantsToLeave, showView, again, onSite } = does;

  const bankName = (bank) => (at.language === "ar" ? bank.arabic_name : bank.name);
  const named = (text) => filled(text, { bank: bankName(at.view.bank) });
  const who = () => make("p", { class: "who" }, badge(at.view.bank), bankName(at.view.bank));

  function badge(bank) {
    const mark = make("span", { class: "badge", "aria-hidden": "true" }, drawing(TEMPLE));
    if (/^#[0-9a-f]{6}$/i.test(bank.main_color)) mark.style.background = bank.main_color;
    return mark;
  }

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

  const logIn = (t, name, other) => form((typed) => step(name, typed),
    field("username", t.credentials.username, {
      autocomplete: "username", autocapitalize: "none", spellcheck: "false", dir: "ltr",
    }),
    field("password", t.credentials.password, { type: "password", autocomplete: "current-password", dir: "ltr" }),
    make("p", { class: "hint", id: "hint" }, t.credentials.hint), push(),
    actions(submit(t.credentials.go), other));

  function bankButton(bank, t) {
    const click = () => step("bank", { bank_identifier: bank.identifier });
    const off = bank.usable ? [] : [make("small", {}, t.banks.off)];
    return make(
      "button", { type: "button", class: "bank", disabled: !bank.usable, click },
      badge(bank), make("span", {}, bankName(bank), ...off),
    );
  }

  const grants = (t) =>
    make("ul", { class: "grants" }, ...at.view.permissions.map((name) => make("li", {}, t.grants[name] ?? name)));

  const outcome = (said, path, action, kind = "") => [
    make("div", { class: `outcome ${kind}` }, drawing(path)),
    heading(said.title), paragraph(said.text), push(), actions(...[action].flat()),
  ];

  const trouble = (said, t) => outcome(
    said, EXCLAMATION, [button(t.again, again), onSite ? null : button(t.close, wantsToLeave, "other")],
  );

  const wayBack = (t) => (at.view.return_url ? make("a", { class: "main", href: at.view.return_url }, t.site.back) : null);

  return {
    banks: (t) => [
      heading(t.banks.title), paragraph(t.banks.text), problem(),
      make("ul", { class: "banks" }, ...at.view.banks.map((bank) => make("li", {}, bankButton(bank, t)))),
    ],
    permissions: (t) => [
      heading(t.permissions.title), who(), paragraph(t.permissions.text), grants(t),
      paragraph(t.permissions.note, "hint"), push(),
      actions(button(t.permissions.allow, () => step("consent")),
        at.parameters.bank_identifier ? null : button(t.back, () => step("back"), "other")),
    ],
    credentials: (t) => [
      heading(t.credentials.title), who(), problem(),
      logIn(t, "credentials", button(t.back, () => step("back"), "other")),
    ],
    otp: (t) => [
      heading(t.otp.title), who(), paragraph(named(t.otp.text)), problem(),
      form((typed) => step("otp", typed),
        field("otp", t.otp.label, {
          class: "code", inputmode: "numeric", autocomplete: "one-time-code", maxlength: "12", dir: "ltr",
        }),
        make("p", { class: "hint", id: "hint" }, t.otp.hint), push(), actions(submit(t.otp.go))),
    ],
    redirect: (t) => [
      heading(t.redirect.title), who(), paragraph(named(t.redirect.text)), push(),
      actions(button(t.redirect.go, () => step("continue")),
        at.method === "connect" ? button(t.back, () => step("back"), "other") : null),
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

    // a bank's own site
    bank_login: (t) => [
      who(), heading(t.site.login), problem(),
      logIn(t, "login", button(t.site.refuse, () => step("refuse"), "other")),
    ],
    bank_approval: (t) => [
      who(), heading(t.site.title), paragraph(t.site[at.view.method]), grants(t), push(),
      actions(button(t.site.approve, () => step("approve")), button(t.site.refuse, () => step("refuse"), "other")),
    ],
    approved: (t) => [who(), ...outcome(t.site.approved, TICK, wayBack(t), "good")],
    refused: (t) => [who(), ...outcome(t.site.refused, EXCLAMATION, wayBack(t))],
    rejected: (t) => [who(), ...outcome(t.errors[at.view.problem] ?? t.errors.other, EXCLAMATION, wayBack(t))],
    gone: (t) => outcome(t.errors.UNKNOWN, EXCLAMATION, null),
  };
}
