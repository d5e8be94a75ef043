//go:build ignore

// Reads the documents of reference.json and writes what sigs.k8s.io/yaml makes of each back into it.
package main

import (
	"encoding/json"
	"os"

	"sigs.k8s.io/yaml"
)

type result struct {
	YAML        string          `json:"yaml"`
	JSON        json.RawMessage `json:"json,omitempty"`
	Error       string          `json:"error,omitempty"`
	StrictError string          `json:"strict_error,omitempty"`
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	data, err := os.ReadFile(os.Args[1])
	must(err)
	var cases []result
	must(json.Unmarshal(data, &cases))
	for i, c := range cases {
		r := result{YAML: c.YAML}
		if out, err := yaml.YAMLToJSON([]byte(c.YAML)); err != nil {
			r.Error = err.Error()
		} else {
			r.JSON = out
		}
		if _, err := yaml.YAMLToJSONStrict([]byte(c.YAML)); err != nil {
			r.StrictError = err.Error()
		}
		cases[i] = r
	}
	file, err := os.Create(os.Args[1])
	must(err)
	_, err = file.WriteString("[\n")
	must(err)
	for i, c := range cases {
		line, err := json.Marshal(c)
		must(err)
		if i < len(cases)-1 {
			line = append(line, ',')
		}
		_, err = file.Write(append(line, '\n'))
		must(err)
	}
	_, err = file.WriteString("]\n")
	must(err)
	must(file.Close())
}
