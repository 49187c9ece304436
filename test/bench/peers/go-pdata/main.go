// Peer of `bench decode`: the OpenTelemetry Collector's own decoder (pdata), decode only.
//
// usage: go-pdata FILE MILLISECONDS [answer]
// Warms up for a quarter of the time, then decodes FILE over and over for MILLISECONDS on one core and prints
// {"items":…, "wallMs":…, "cpuMs":…}. With `answer` it prints what the request holds instead, to be compared.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

func main() {
	if len(os.Args) < 3 {
		fail(fmt.Errorf("usage: go-pdata FILE MILLISECONDS [answer]"))
	}
	runtime.GOMAXPROCS(1)
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	ms, err := strconv.Atoi(os.Args[2])
	if err != nil {
		fail(err)
	}
	if len(os.Args) > 3 {
		points, sum := answer(decode(data))
		fmt.Printf("{\"pointCount\":%d,\"valueSum\":%.17g}\n", points, sum)
		return
	}
	span := time.Duration(ms) * time.Millisecond
	loop(data, span/4)
	cpu := cpuTime()
	items, wall := loop(data, span)
	fmt.Printf("{\"items\":%d,\"wallMs\":%.3f,\"cpuMs\":%.3f}\n", items, wall.Seconds()*1e3, (cpuTime()-cpu).Seconds()*1e3)
}

func decode(data []byte) pmetric.Metrics {
	request := pmetricotlp.NewExportRequest()
	if err := request.UnmarshalProto(data); err != nil {
		fail(err)
	}
	return request.Metrics()
}

func loop(data []byte, span time.Duration) (int, time.Duration) {
	begun := time.Now()
	items := 0
	for {
		items += decode(data).DataPointCount()
		if wall := time.Since(begun); wall >= span {
			return items, wall
		}
	}
}

// answer counts the points and adds up values, sums, buckets and quantile values.
func answer(metrics pmetric.Metrics) (int, float64) {
	sum := 0.0
	for i := 0; i < metrics.ResourceMetrics().Len(); i++ {
		scopes := metrics.ResourceMetrics().At(i).ScopeMetrics()
		for j := 0; j < scopes.Len(); j++ {
			list := scopes.At(j).Metrics()
			for k := 0; k < list.Len(); k++ {
				sum += metricSum(list.At(k))
			}
		}
	}
	return metrics.DataPointCount(), sum
}

func metricSum(metric pmetric.Metric) float64 {
	sum := 0.0
	switch metric.Type() {
	case pmetric.MetricTypeGauge:
		sum = numberSum(metric.Gauge().DataPoints())
	case pmetric.MetricTypeSum:
		sum = numberSum(metric.Sum().DataPoints())
	case pmetric.MetricTypeHistogram:
		for i := 0; i < metric.Histogram().DataPoints().Len(); i++ {
			point := metric.Histogram().DataPoints().At(i)
			sum += point.Sum()
			for _, count := range point.BucketCounts().AsRaw() {
				sum += float64(count)
			}
		}
	case pmetric.MetricTypeExponentialHistogram:
		for i := 0; i < metric.ExponentialHistogram().DataPoints().Len(); i++ {
			point := metric.ExponentialHistogram().DataPoints().At(i)
			sum += point.Sum()
			for _, count := range point.Positive().BucketCounts().AsRaw() {
				sum += float64(count)
			}
		}
	case pmetric.MetricTypeSummary:
		for i := 0; i < metric.Summary().DataPoints().Len(); i++ {
			point := metric.Summary().DataPoints().At(i)
			sum += point.Sum()
			for j := 0; j < point.QuantileValues().Len(); j++ {
				sum += point.QuantileValues().At(j).Value()
			}
		}
	}
	return sum
}

func numberSum(points pmetric.NumberDataPointSlice) float64 {
	sum := 0.0
	for i := 0; i < points.Len(); i++ {
		if points.At(i).ValueType() == pmetric.NumberDataPointValueTypeInt {
			sum += float64(points.At(i).IntValue())
		} else {
			sum += points.At(i).DoubleValue()
		}
	}
	return sum
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "go-pdata:", err)
	os.Exit(1)
}
