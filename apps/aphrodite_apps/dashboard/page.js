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
