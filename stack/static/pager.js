// The title of the browser's tab says what is open, as the page does.

const show = () => { document.title = document.querySelector("#headline h1").textContent; };

show();
document.addEventListener("live", show);
