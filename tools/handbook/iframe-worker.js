// The search runs in a web worker, which browsers refuse to pages that are opened from a folder.
// There, a hidden frame runs the worker's script.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    #frame = Object.assign(document.createElement("iframe"), { hidden: true });
    #started;

    constructor(url) {
      super();
      this.#started = new Promise((resolve) => {
        const start = () => {
          const inside = this.#frame.contentWindow;
          inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
          const script = inside.document.createElement("script");
          script.onload = () => resolve(inside);
          script.src = new URL(url, location);
          inside.document.body.append(script);
        };
        this.#frame.addEventListener("load", start, { once: true });
      });
      document.body.append(this.#frame);
    }

    async postMessage(data) {
      (await this.#started).dispatchEvent(new MessageEvent("message", { data }));
    }

    terminate() {
      this.#frame.remove();
    }
  };
}
