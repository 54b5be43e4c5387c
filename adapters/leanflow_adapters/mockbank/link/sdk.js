/*
 * Mockbank's stand-in for Lean's Link SDK. It is not Lean's code: it takes the documented parameters, opens Mockbank's
 * hosted page over the application's page, and calls back with the documented payload.
 *
 * It is served under the paths of Lean's loader, so an application changes nothing but the host:
 *   /link/loader/prod/{ae|sa}/latest/lean-link-loader.min.js    global Lean
 *   /link/sdk/web/latest/Lean.min.js                            global Lean, older
 *   /link/sdk/web/v2/prod/{ae|sa}/latest/Lean.min.js            global LeanV2, older
 *
 * Where Lean's SDK lets a wrong call pass, this one says on the console what is wrong, and calls back with ERROR.
 */
(() => {
  "use strict";

  const script = new URL(document.currentScript.src);
  const PAGE = new URL("/link/page/page.html", script.origin);
  const GIVE_UP_MS = 15_000; // a page that has not spoken by then is not going to
  const AFTER_LOAD_MS = 1_000; // it speaks before it has loaded; its word may come a little later

  const TEXTS = {
    en: { connect: "Connect your bank", reconnect: "Reconnect your bank", loading: "One moment…", close: "Close",
          gone: "The page cannot be reached. Please try again later." },
    ar: { connect: "ربط حسابك البنكي", reconnect: "إعادة ربط حسابك البنكي", loading: "لحظة من فضلك…", close: "إغلاق",
          gone: "تعذّر الوصول إلى الصفحة. يرجى المحاولة لاحقًا." },
  };

  let current = null; // the visit that is open

  function start(method, options) {
    if (options === null || typeof options !== "object" || Array.isArray(options)) {
      console.error(`Lean.${method}: call it with an object of parameters.`);
      return;
    }
    const { callback = () => {}, ...parameters } = options;
    if (typeof callback !== "function") {
      console.error(`Lean.${method}: callback must be a function.`);
      return;
    }
    const refuse = (message) => {
      console.error(`Lean.${method}: ${message}`);
      callback({ status: "ERROR", secondary_status: "UNKNOWN", message });
    };
    try {
      structuredClone(parameters);
    } catch {
      refuse("parameters must be plain values.");
      return;
    }
    current?.end({ status: "LINK_CLOSED_PROGRAMMATICALLY", message: "Another flow was started." });
    current = new Visit(method, parameters, callback);
  }

  class Visit {
    constructor(method, parameters, callback) {
      Object.assign(this, { method, parameters, callback, ready: false, ended: false });
      this.language = parameters.language === "ar" ? "ar" : "en";
      this.texts = TEXTS[this.language];
      this.build();
      this.hear = (message) => this.heard(message);
      window.addEventListener("message", this.hear);
      this.timer = setTimeout(() => this.gone(), GIVE_UP_MS);
      this.overflow = document.documentElement.style.overflow;
      document.documentElement.style.overflow = "hidden";
      document.body.append(this.dialog);
      this.dialog.showModal(); // all else becomes inert, and gets the focus back at the end
    }

    /* Styles are set one by one: an application's Content-Security-Policy may forbid style sheets. */
    build() {
      this.dialog = style(document.createElement("dialog"), {
        position: "fixed", inset: "0", width: "100vw", height: "100dvh", maxWidth: "none", maxHeight: "none",
        margin: "0", padding: "0", border: "0", background: "rgba(12, 24, 28, 0.6)", overflow: "hidden",
      });
      this.dialog.lang = this.language;
      this.dialog.dir = this.language === "ar" ? "rtl" : "ltr";
      this.dialog.setAttribute("aria-label", this.texts[this.method]);
      this.dialog.addEventListener("cancel", (event) => {
        event.preventDefault();
        this.leave();
      });
      const box = {
        position: "absolute", inset: "0", margin: "auto", width: "min(100vw, 27.5rem)", height: "min(100dvh, 46rem)",
        border: "0", background: "#fff", colorScheme: "light",
        borderRadius: "clamp(0px, (100vw - 28rem) * 99, 16px)", // round, unless it fills a phone
      };
      this.frame = style(document.createElement("iframe"), box);
      this.frame.title = this.texts[this.method];
      this.frame.src = PAGE;
      this.frame.addEventListener("load", () => {
        if (!this.ready) {
          clearTimeout(this.timer);
          this.timer = setTimeout(() => this.gone(), AFTER_LOAD_MS);
        }
      });
      this.cover = style(document.createElement("div"), {
        ...box, display: "grid", placeContent: "center", gap: "1rem", padding: "2rem", boxSizing: "border-box",
        font: "16px/1.5 system-ui, sans-serif", color: "#16242b", textAlign: "center",
      });
      this.word = document.createElement("p");
      this.word.setAttribute("role", "status");
      this.word.textContent = this.texts.loading;
      const close = style(document.createElement("button"), {
        font: "inherit", color: "#16242b", background: "#fff", border: "1px solid #6b7a81", borderRadius: "10px",
        minHeight: "48px", padding: "0 1.5rem",
      });
      close.type = "button";
      close.autofocus = true; // until the page is there: a frame without a page would swallow the keys
      close.textContent = this.texts.close;
      close.addEventListener("click", () => this.leave());
      this.cover.append(this.word, close);
      this.dialog.append(this.frame, this.cover);
    }

    heard(message) {
      if (message.source !== this.frame.contentWindow || message.origin !== PAGE.origin || !message.data) return;
      const { type, callback, redirect } = message.data;
      if (type === "hello") {
        this.frame.contentWindow.postMessage(
          { type: "open", method: this.method, parameters: this.parameters }, PAGE.origin,
        );
      } else if (type === "shown") {
        clearTimeout(this.timer);
        this.ready = true;
        this.cover.hidden = true;
        this.cover.style.display = "none";
        this.frame.focus();
      } else if (type === "invalid") {
        console.error(`Lean.${this.method}: ${callback.message}`);
        this.end(callback);
      } else if (type === "end") {
        this.end(callback, redirect);
      }
    }

    /* The user wants to go. The page asks whether that is meant; one that does not speak is not asked. */
    leave() {
      if (this.ready) {
        this.frame.contentWindow.postMessage({ type: "leave" }, PAGE.origin);
      } else if (this.failed) {
        this.end({ status: "ERROR", secondary_status: "UNKNOWN", message: "The page could not be reached.",
                   exit_point: "LOADING" });
      } else {
        this.end({ status: "CANCELLED", secondary_status: "FAILED", message: "The user closed the window.",
                   exit_point: "LOADING", user_exit_intent: true });
      }
    }

    gone() {
      this.failed = true;
      this.word.setAttribute("role", "alert");
      this.word.textContent = this.texts.gone;
    }

    end(payload, redirect) {
      if (this.ended) return;
      this.ended = true;
      if (current === this) current = null;
      clearTimeout(this.timer);
      window.removeEventListener("message", this.hear);
      document.documentElement.style.overflow = this.overflow;
      this.dialog.close();
      this.dialog.remove();
      this.callback(payload);
      if (redirect) window.location.assign(redirect);
    }
  }

  function style(element, rules) {
    Object.assign(element.style, rules);
    return element;
  }

  const sdk = Object.freeze({
    connect: (options) => start("connect", options),
    reconnect: (options) => start("reconnect", options),
  });
  window[script.pathname.includes("/web/v2/") ? "LeanV2" : "Lean"] = sdk;
})();
