"use strict";
/* Shades the edges of what scrolls sideways where there is more to see. */
function shade(scroll) {
  const left = scroll.scrollLeft;
  const hidden = scroll.scrollWidth - scroll.clientWidth;
  const pinned = scroll.querySelector("th");
  const frame = scroll.parentElement;
  frame.classList.toggle("before", left > 1);
  frame.classList.toggle("after", hidden - left > 1);
  frame.style.setProperty("--pinned", (pinned ? pinned.offsetWidth + 1 : 0) + "px");
}

const resized = new ResizeObserver((entries) => {
  for (const entry of entries) shade(entry.target.closest(".scroll"));
});
for (const scroll of document.querySelectorAll(".scroll")) {
  scroll.addEventListener("scroll", () => shade(scroll), { passive: true });
  resized.observe(scroll);
  resized.observe(scroll.firstElementChild);
}
