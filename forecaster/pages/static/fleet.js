// Filters the servers as one types, and keeps the filter in the address. "/" goes to the search field.

const form = document.getElementById("ui-filter"), output = document.getElementById("ui-shown");
const {text, profile, priority} = form.elements;

function servers() {
  return document.querySelectorAll("#ui-rows > *, #ui-tiles > *");
}

function filter() {
  const wanted = text.value.trim().toLowerCase();
  let number = 0;
  const all = servers();
  for (const one of all) {
    const hit = (!profile.value || one.dataset.profile === profile.value)
      && (!priority.value || one.dataset.priority === priority.value)
      && (!wanted || `${one.textContent} ${one.dataset.profile}`.toLowerCase().includes(wanted));
    one.hidden = !hit;
    number += hit;
  }
  const said = `${number} of ${all.length}`;
  if (output.value !== said) output.value = said;
  document.getElementById("ui-tiles-title").hidden = !document.querySelector("#ui-tiles > :not([hidden])");
}

function profiles() {
  const known = new Set([...profile.options].map(option => option.value));
  for (const name of new Set([...servers()].map(one => one.dataset.profile))) {
    if (!known.has(name)) profile.add(new Option(name, name));
  }
}

function address() {
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  history.replaceState(null, "", query.size ? `?${query}${location.hash}` : location.pathname + location.hash);
}

form.querySelector("button").hidden = true;
form.addEventListener("submit", event => event.preventDefault());
form.addEventListener("input", () => { address(); filter(); });
document.addEventListener("live", () => { profiles(); filter(); });
document.addEventListener("keydown", event => {
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.target.closest("input, select, textarea")) {
    event.preventDefault();
    text.focus();
  } else if (event.key === "Escape" && event.target === text) {
    text.value = "";
    address();
    filter();
  }
});
filter();
