// Fills a text field from a file that the visitor chooses. Without this file the text is pasted.
(() => {
  for (const choice of document.querySelectorAll("[data-into]")) {
    const field = document.getElementById(choice.dataset.into);
    choice.hidden = false;
    choice.querySelector("input").addEventListener("change", async (event) => {
      const [file] = event.target.files;
      if (file) field.value = await file.text();
    });
  }
})();
