// Random Cut Forest with its defaults, one forest a series, single-threaded: a peer of `bench score` (its protocol: score/batch-peer.ts).
//
// usage: java -cp "LIBS/*" RcfPeer.java      a batch: of each series its length, then one value a line; 0 ends the batch
// Answers each batch with its points, the CPU seconds of this thread (collections and compiling not counted) and the sum of all scores,
// so that nothing is optimised away.

import com.amazon.randomcutforest.RandomCutForest;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

public class RcfPeer {
    private static final int TREES = 30;
    private static final int SAMPLES = 256;
    private static final int SHINGLE = 8;

    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (List<double[]> batch = read(in); batch != null; batch = read(in)) answer(batch);
    }

    private static void answer(List<double[]> batch) {
        ThreadMXBean threads = ManagementFactory.getThreadMXBean();
        long points = 0;
        double sum = 0;
        long begun = threads.getCurrentThreadCpuTime();
        for (double[] series : batch) {
            RandomCutForest forest = RandomCutForest.builder().dimensions(SHINGLE).shingleSize(SHINGLE).internalShinglingEnabled(true)
                .numberOfTrees(TREES).sampleSize(SAMPLES).randomSeed(42).parallelExecutionEnabled(false).build();
            double[] point = new double[1];
            for (double value : series) {
                point[0] = value;
                sum += forest.getAnomalyScore(point);
                forest.update(point);
            }
            points += series.length;
        }
        double seconds = (threads.getCurrentThreadCpuTime() - begun) / 1e9;
        System.out.printf(Locale.ROOT, "{\"points\":%d,\"seconds\":%.6f,\"sum\":%.3f}%n", points, seconds, sum);
    }

    /** The next batch, or null at the end of the input. */
    private static List<double[]> read(BufferedReader in) throws Exception {
        List<double[]> batch = new ArrayList<>();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            int length = Integer.parseInt(line);
            if (length == 0) return batch;
            double[] series = new double[length];
            for (int row = 0; row < length; row++) series[row] = Double.parseDouble(in.readLine());
            batch.add(series);
        }
        return null;
    }
}
