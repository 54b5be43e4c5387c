/* What can be seen of a page by those who look, those who listen, and those with big thumbs. */
() => {
  const shown = (element) =>
    element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !element.closest(".unseen");

  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const over = (top, below) => ({
    r: top.r * top.a + below.r * (1 - top.a),
    g: top.g * top.a + below.g * (1 - top.a),
    b: top.b * top.a + below.b * (1 - top.a),
    a: 1,
  });
  const ground = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(parse(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), { r: 255, g: 255, b: 255, a: 1 });
  };
  /* WCAG 2.2: relative luminance, and the ratio of two. */
  const light = ({ r, g, b }) => {
    const linear = (one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    const [x, y, z] = [r, g, b].map((one) => linear(one / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ratio = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };

  const all = [...document.body.querySelectorAll("*")].filter(shown);
  const texts = all
    .filter((element) => [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()))
    .map((element) => ({
      text: element.textContent.trim(),
      ratio: ratio(over(parse(getComputedStyle(element).color), ground(element)), ground(element)),
      language: element.closest("[lang]").lang,
    }));
  const controls = all.filter((element) => element.matches("a, button, input"));
  const targets = controls.map((element) => {
    const box = (element.matches("[type=radio]") ? element.closest("label") : element).getBoundingClientRect();
    return { what: element.textContent.trim() || element.name || element.id, width: box.width, height: box.height };
  });
  const ids = (element) => (element.getAttribute("aria-describedby") ?? "").split(" ");
  const inputs = controls.filter((element) => element.matches("input:not([type=radio])"));
  const fields = inputs.map((element) => {
    const style = getComputedStyle(element);
    return {
      name: element.name,
      label: element.labels[0]?.firstChild.textContent ?? "",
      direction: style.direction,
      inputmode: element.inputMode,
      autocomplete: element.autocomplete,
      edge: ratio(parse(style.borderTopColor), ground(element.parentElement)),
      described: ids(element).filter((id) => !document.getElementById(id)), // by what is not there
    };
  });
  const given = [...document.querySelectorAll("[id]")].map((element) => element.id);
  return {
    language: document.documentElement.lang,
    direction: document.documentElement.dir,
    title: document.title,
    headings: [...document.querySelectorAll("h1")].map((element) => element.textContent),
    focus: document.activeElement.tagName,
    sideways: document.documentElement.scrollWidth - window.innerWidth,
    doubled: given.filter((id, at) => given.indexOf(id) !== at),
    closeIsOnTheLeft: document.getElementById("close").getBoundingClientRect().left < window.innerWidth / 2,
    texts, targets, fields,
  };
}
