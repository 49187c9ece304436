// The seam for learned detectors: per entity and window they see its series' latest values and answer a probability.
//
// Flow: scorer (a point of the entity passes the end of a window) -> LearnedDetector -> scorer (anomaly `model:<name>`).
// models/ implements it; the composition root passes `models: () => LearnedDetector[]`, so a hot-loaded model is used from
// the next window on. Called on the worker's thread between points: an implementation answers in microseconds or keeps
// its own thread and answers with what it knows. With the same windows it must answer the same, or a replay differs.

export interface SeriesReading {
  /** Latest value; series of the metric that differ only in attributes are added up when it is a rate, else averaged. */
  value: number
  /** Largest signed distance from its baseline among them, in scales; 0 while warming up. */
  zscore: number
  seriesCount: number
}

export interface EntityWindow {
  environment: string
  entity: string
  service: string
  fromMs: number
  toMs: number
  /** `metric|value` (gauges), `metric|rate` (counters, windowed sums, per second), `metric|mean`, `metric|p95` (histograms). */
  values: ReadonlyMap<string, SeriesReading>
}

export interface LearnedDetector {
  readonly name: string
  readonly version: string
  /** Shadow: its anomalies are stored and compared, and open no incident. */
  readonly shadow: boolean
  /** Probability from which it raises an anomaly, 0..1. */
  readonly threshold: number
  /** What it predicts and how far ahead, for the sentence: `fails within 5 min`. */
  readonly claim: string
  /** Probability 0..1; undefined while it cannot say (features missing, too little history). */
  onEntityWindow(window: EntityWindow): number | undefined
}
