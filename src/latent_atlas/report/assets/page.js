// Meanings on hover and on focus, commands copied by a click, a walk that plays. Without this the page still says everything.
document.addEventListener("DOMContentLoaded", () => {
  const tip = Object.assign(document.createElement("div"), { id: "tip", role: "tooltip", hidden: true });
  document.body.append(tip);
  const show = (element) => {
    tip.textContent = element.dataset.tip;
    tip.hidden = false;
    const at = element.getBoundingClientRect();
    const below = at.bottom + 8 + tip.offsetHeight < innerHeight;
    tip.style.left = Math.max(8, Math.min(at.left, innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = (below ? at.bottom + 8 : at.top - tip.offsetHeight - 8) + "px";
  };
  for (const element of document.querySelectorAll(".num[title]")) {
    element.dataset.tip = element.title;
    element.setAttribute("aria-description", element.title);
    element.removeAttribute("title");
    for (const begin of ["mouseenter", "focus"]) element.addEventListener(begin, () => show(element));
    for (const end of ["mouseleave", "blur"]) element.addEventListener(end, () => { tip.hidden = true; });
  }
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    tip.hidden = true;
    for (const open of document.querySelectorAll(".number .origin[open]")) open.open = false;
  });
  if (navigator.clipboard) {
    for (const line of document.querySelectorAll(".command")) {
      const button = Object.assign(document.createElement("button"), { textContent: "copy", type: "button" });
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(line.textContent);
        button.textContent = "copied";
        setTimeout(() => { button.textContent = "copy"; }, 1500);
      });
      line.after(" ", button);
    }
  }
  for (const strip of document.querySelectorAll("[data-walk]")) {
    const frames = [...strip.querySelectorAll("img")];
    if (frames.length < 2) continue;
    const large = frames[0].cloneNode();
    const scale = Math.max(1, Math.round(160 / frames[0].width));
    large.width = frames[0].width * scale;
    large.height = frames[0].height * scale;
    const button = Object.assign(document.createElement("button"), { textContent: "play", type: "button" });
    const player = Object.assign(document.createElement("div"), { className: "player" });
    player.append(large, button);
    strip.after(player);
    let timer = 0, place = 0, step = 1;
    button.addEventListener("click", () => {
      button.textContent = timer ? "play" : "pause";
      if (timer) { clearInterval(timer); timer = 0; return; }
      timer = setInterval(() => {
        if (place + step < 0 || place + step >= frames.length) step = -step;
        place += step;
        large.src = frames[place].src;
      }, 220);
    });
  }
});
