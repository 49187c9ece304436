// usage: npm run -s test:sim -- [--seeds 100] [--first 1] [--json]
import { runWorld } from './world.ts'
const first = Number(process.argv[2] ?? 1), n = Number(process.argv[3] ?? 1)
const t = process.hrtime.bigint(), cpu0 = process.cpuUsage().user
let ev = 0, cmds = 0
for (let s = first; s < first + n; s++) {
  const r = await runWorld(s, process.env.FILTER === undefined ? {} : { onEvent: l => void (new RegExp(process.env.FILTER!).test(l) && console.log(l.slice(0, 170))) })
  ev += r.events; cmds += r.commands
  if (r.violations.length) { console.log(s, JSON.stringify(r.settings.faults), r.violations.slice(0,2)); if (n === 1 && process.env.FILTER === undefined) console.log(r.last.join('\n')) }
  if (n === 1) console.log(r.traceHash, r.events, r.commands, [...r.marks.counts])
}
const sec = Number(process.hrtime.bigint() - t) / 1e9
console.log({ n, cpu: n / ((process.cpuUsage().user - cpu0) / 1e6), sec, perS: n / sec, ev, cmds })
