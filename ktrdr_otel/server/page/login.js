// The form works without this; with it, a refusal is said and the page that was asked for comes afterwards.

if (new URLSearchParams(location.search).has("refused")) {
  document.getElementById("fault").textContent = "This is not the server's token.";
}
// A redirect keeps the fragment of the address that it answers.
document.getElementById("login").action = `/login${location.hash}`;
