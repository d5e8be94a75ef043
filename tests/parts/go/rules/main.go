// Checks files of alert rules as `promtool check rules` does: with Prometheus' own parser of them and of their expressions.
//
// promtool itself takes 400 seconds of CPU to build, most of them for the clients of clouds that it does not need here. What is
// printed for each rule is one JSON line: its name, and the metrics that its expression reads.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

type rule struct {
	Alert   string              `json:"alert"`
	Metrics map[string][]string `json:"metrics"` // name -> labels that are matched
}

func main() {
	failed := false
	for _, file := range os.Args[1:] {
		groups, errors := rulefmt.ParseFile(file, false, model.UTF8Validation)
		for _, err := range errors {
			fmt.Fprintln(os.Stderr, err)
			failed = true
		}
		if groups == nil {
			continue
		}
		for _, group := range groups.Groups {
			for _, one := range group.Rules {
				print(one.Alert, one.Expr)
			}
		}
	}
	if failed {
		os.Exit(1)
	}
}

func print(alert, expression string) {
	tree, err := parser.ParseExpr(expression)
	if err != nil {
		return // rulefmt has said so
	}
	found := rule{Alert: alert, Metrics: map[string][]string{}}
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		matched := found.Metrics[selector.Name]
		for _, matcher := range selector.LabelMatchers {
			if matcher.Name != labels.MetricName && !slices.Contains(matched, matcher.Name) {
				matched = append(matched, matcher.Name)
			}
		}
		found.Metrics[selector.Name] = append([]string{}, matched...)
		return nil
	})
	line, _ := json.Marshal(found)
	fmt.Println(string(line))
}
