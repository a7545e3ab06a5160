// A file of its own, so that the page needs no inline script and its Content-Security-Policy can forbid them.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  // Without this, a page served under a public name shows a badge of validator.swagger.io.
  validatorUrl: null,
});
