// The conversation stays at its end while an answer comes, unless somebody has scrolled up to read.
addEventListener("DOMContentLoaded", () => {
  let isAtEnd = true;
  const talk = () => document.getElementById("talk");
  document.addEventListener("scroll", (event) => {
    const box = event.target;
    if (box === talk()) isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  }, true);
  new MutationObserver((changes) => {
    const box = talk();
    if (box && isAtEnd && changes.some((change) => box.contains(change.target))) box.scrollTop = box.scrollHeight;
  }).observe(document.body, {childList: true, subtree: true, characterData: true});
});

// A click on a token of a completion is its number in the field below, which shows how it was drawn.
addEventListener("click", (event) => {
  const token = event.target.closest?.("#completion-written .aphrodite-text > *");
  const field = document.querySelector("#completion-token input");
  if (!token || !field) return;
  const isDrawn = (each) => each.style.getPropertyValue("--p") !== "";
  if (!isDrawn(token)) return;
  const given = Number(token.parentElement.dataset.given ?? 0);
  const place = [...token.parentElement.children].filter(isDrawn).indexOf(token);
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(field, given + place);
  field.dispatchEvent(new Event("input", { bubbles: true }));
});
