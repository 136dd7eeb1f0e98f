"""A client of the FastAPI scripts that many people ran around a model: /generate and /health. It works unchanged.

Only the standard library. If your script used `requests`, keep it: routes, fields and errors are the same.
"""

import json
import os
import urllib.error
import urllib.request


class LLMError(Exception):
    """The server answered with an error; `detail` is the text that FastAPI would have sent."""

    def __init__(self, status, detail):
        super().__init__(f"{status}: {detail}")
        self.status, self.detail = status, detail


class LLMClient:
    """Talks to one server. `api_key` is needed only if the server was started with keys."""

    def __init__(self, base_url="http://127.0.0.1:8000", api_key=None, timeout=120):
        self.base_url, self.timeout = base_url.rstrip("/"), timeout
        self.headers = {"content-type": "application/json"}
        if api_key:
            self.headers["authorization"] = f"Bearer {api_key}"

    def generate(self, prompt, max_tokens=100, temperature=0.7, top_p=0.9, stop=None):
        """The text that follows `prompt`."""
        body = {"prompt": prompt, "max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "stop": stop}
        return self._ask("/generate", body)["text"]

    def health(self):
        """Such as {"status": "healthy", "model_loaded": True}."""
        return self._ask("/health")

    def _ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base_url + path, data, self.headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            try:
                detail = json.loads(text)["detail"]
            except (ValueError, KeyError, TypeError):
                detail = text
            raise LLMError(error.code, detail) from None


if __name__ == "__main__":
    client = LLMClient(os.environ.get("LLAMERO_URL", "http://127.0.0.1:8000"))
    print(client.health())
    prompt = "The future of AI is"
    print(prompt + client.generate(prompt, max_tokens=50))
