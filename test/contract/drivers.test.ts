// Every driver under the one contract. A new driver is its file in actuators/drivers, its subject in drivers/, and a line here;
// `systemd` needs a system of its own and stands in test/e2e/systemd.test.ts.

import { afterAll } from 'vitest'
import { tidyUp } from '../unit/actuators/drivers/process-world.ts'
import { driverContract } from './driver.ts'
import { exec } from './drivers/exec.ts'
import { http } from './drivers/http.ts'
import { supervised, tree } from './drivers/process.ts'

afterAll(tidyUp)

driverContract(...supervised)
driverContract(...tree)
driverContract(...exec)
driverContract(...http)
