#!/bin/sh
# Writes the Go side of every document in ../openapi.
set -eu
cd "$(dirname "$0")"
for name in market activity payment accounting node gsb emet; do
	go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 \
		-config generate.yaml -package "$name" -o "$name/$name.gen.go" "../openapi/$name.yaml"
done
