// What the tests of the JavaScript clients share: where the server is and what it serves, told by test_node.py.

export const baseURL = process.env.OPENAI_BASE_URL;
export const model = process.env.LLAMERO_MODEL;
export const embedder = process.env.LLAMERO_EMBEDDER_URL;

if (!baseURL || !model) throw new Error("tests/clients/test_node.py starts a server and runs these tests");

export const question = "What is the capital of France? Answer in one sentence.";
