import java.net.*; import java.io.*; import java.util.*; import java.util.concurrent.*;
public class Service {
	public static void main(String[] a) throws Exception {
		ExecutorService p = Executors.newFixedThreadPool(50);
		List<Future<Integer>> l = new ArrayList<>();
		for (int i = 0; i < 500; i++) { final int n = i; l.add(p.submit(() -> { byte[] b = new byte[100000]; return n + b.length - 100000; })); }
		int s = 0; for (Future<Integer> f : l) s += f.get();
		p.shutdown();
		System.out.println("sum " + s);
		ServerSocket ss = new ServerSocket(0);
		new Thread(() -> { try (Socket c = ss.accept()) { c.getOutputStream().write("from server".getBytes()); } catch (IOException e) { System.out.println(e); } }).start();
		try (Socket c = new Socket("127.0.0.1", ss.getLocalPort())) { System.out.println(new String(c.getInputStream().readAllBytes())); }
		Process q = new ProcessBuilder("echo", "sub").start();
		System.out.print(new String(q.getInputStream().readAllBytes()) + q.waitFor() + "\n");
		System.gc();
		File f = File.createTempFile("xyz", "y");
		try (RandomAccessFile r = new RandomAccessFile(f, "rw")) { java.nio.MappedByteBuffer m = r.getChannel().map(java.nio.channels.FileChannel.MapMode.READ_WRITE, 0, 8192); m.put(5000, (byte) 7); m.force(); r.seek(5000); System.out.println("mapped " + r.read()); }
	}
}
