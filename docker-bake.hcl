variable "REGISTRY" { default = "ghcr.io/socialsync" }
variable "TAG" { default = "0.1.0" }

group "default" {
  targets = ["service"]
}

target "service" {
  name       = service
  matrix     = { service = ["gateway", "ingest", "scheduler", "comments", "operator", "flower"] }
  dockerfile = "Dockerfile"
  args       = { SERVICE = service }
  tags       = ["${REGISTRY}/${service}:${TAG}"]
  platforms  = ["linux/amd64", "linux/arm64"]
}
